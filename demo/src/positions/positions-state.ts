import { effect, signal } from '@preact/signals'
import { host } from '../host.ts'
import { positionCall, SCHEMES, type PositionSettings, type Scheme } from './position-scores.ts'

export const settings = signal<PositionSettings>({ base: 10_000, head: 4 })
/** the position that attends */
export const query = signal(64)

/** Attention weights [POSITIONS, POSITIONS] by scheme. */
export const weights = signal<Readonly<Record<Scheme, Float32Array>> | null>(null)
export const failure = signal<unknown>(null)

// Each change of a setting asks for the weights anew; of answers that overtake each other the latest question's counts.
let asked = 0
effect(() => {
  const { value } = settings
  if (host.value.kind === 'ready') void compute(value, ++asked)
})

async function compute(chosen: PositionSettings, number: number): Promise<void> {
  const state = host.peek()
  if (state.kind !== 'ready') return
  try {
    const computed = await Promise.all(
      SCHEMES.map(async (scheme) => {
        const { inputs, options } = positionCall(scheme, chosen)
        const result = await state.runtime.attention(inputs, { ...options, returnWeights: true })
        return [scheme, new Float32Array(result.weights?.data ?? [])] as const
      }),
    )
    if (number === asked) weights.value = Object.fromEntries(computed) as Record<Scheme, Float32Array>
  } catch (error) {
    failure.value = error
  }
}
