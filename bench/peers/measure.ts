import { referenceRow } from '../../src/cli/bench/reference-rows.ts'
import { CONTENDERS, type Packages, type PeerData, type PeerShape } from './contenders.ts'
import { enoughRuns } from './enough-runs.ts'

export interface PeerMeasurement {
  readonly contender: string
  readonly tokens: number
  /** milliseconds of each timed pass */
  readonly times: readonly number[]
  /** the worst difference from float64 over some rows */
  readonly worstError: number
}

/** A whole forward pass may be off by this much before it counts as a wrong answer. */
const ALLOWED_ERROR = 1e-4

/**
 * Checks one contender's answer against float64 on some rows, then times it. @throws what the contender throws, or that
 * its answer is wrong
 */
export async function measurePeer(name: string, shape: PeerShape, packages: Packages): Promise<PeerMeasurement> {
  const contender = CONTENDERS.find((each) => each.name === name)
  if (contender === undefined) throw new Error(`no contender ${name}`)
  const data = peerData(shape)
  const run = await contender.prepare(shape, data, packages)
  const worstError = worstOf(await run(), shape, data)
  if (!(worstError <= ALLOWED_ERROR))
    throw new Error(`wrong answer: off by ${worstError.toExponential(1)} from float64`)
  const times = await enoughRuns(run)
  return { contender: name, tokens: shape.tokens, times, worstError }
}

function peerData({ tokens, heads, headSize }: PeerShape): PeerData {
  let state = 1
  const fill = (): Float32Array =>
    Float32Array.from({ length: tokens * heads * headSize }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return state / 2147483648 - 1
    })
  return { query: fill(), key: fill(), value: fill() }
}

function worstOf(output: Float32Array, { tokens, heads, headSize }: PeerShape, data: PeerData): number {
  let worst = 0
  for (const head of [0, heads - 1]) {
    const query = headOf(data.query, head, heads, headSize)
    const key = headOf(data.key, head, heads, headSize)
    const value = headOf(data.value, head, heads, headSize)
    for (const row of [0, tokens >> 1, tokens - 1]) {
      const expected = referenceRow({ query, key, value, headSize, valueSize: headSize }, row, tokens)
      const start = (row * heads + head) * headSize
      expected.forEach((x, at) => {
        const difference = Math.abs(x - (output[start + at] ?? NaN))
        worst = Math.max(worst, Number.isNaN(difference) ? Infinity : difference)
      })
    }
  }
  return worst
}

/** [n, D] of one head out of [n, H, D]. */
function headOf(data: Float32Array, head: number, heads: number, headSize: number): Float32Array {
  const out = new Float32Array(data.length / heads)
  for (let at = 0; at < out.length; at++)
    out[at] = data[(Math.floor(at / headSize) * heads + head) * headSize + (at % headSize)] ?? NaN
  return out
}
