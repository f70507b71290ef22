import { createRuntime, HeddleError, type AttentionOptions } from 'heddle'
import { expect, test } from 'vitest'
import { propertySettings } from '../support/random-calls.ts'
import { Random } from '../support/random.ts'
import { withRuntime, WorkerCrew } from '../support/runtimes.ts'
import { filled, fingerprint, normalTensor } from '../support/tensors.ts'

console.info(`random actions: HEDDLE_SEED=${propertySettings.seed}`)

const sessions = process.env['HEDDLE_HEAVY'] === '1' ? 150 : 8
const small = normalTensor(new Random(261), [40, 8])
const large = filled([2, 2500, 32], (at) => Math.sin(at * 0.3))
const few = { query: filled([3, 16], Math.cos), keys: filled([9000, 16], (at) => Math.sin(at)) }

const calls = {
  small: { inputs: { query: small, key: small, value: small }, options: { chunkSize: 5 } },
  large: { inputs: { query: large, key: large, value: large }, options: { causal: true, chunkSize: 100, returnLogSumExp: true } },
  'one task': { inputs: { query: large, key: large, value: large }, options: { chunkSize: 2500 } },
  weights: { inputs: { query: small, key: small, value: small }, options: { returnWeights: true, returnStatistics: true } },
  'few rows': { inputs: { query: few.query, key: few.keys, value: few.keys }, options: {} },
} as const satisfies Record<string, { inputs: object; options: AttentionOptions }>
const names = Object.keys(calls) as (keyof typeof calls)[]

async function expectedBits(): Promise<Map<string, string>> {
  const bits = new Map<string, string>()
  await withRuntime({ workers: 0 }, async (runtime) => {
    for (const name of names) bits.set(name, fingerprint((await runtime.attention(calls[name].inputs, calls[name].options)).output.data))
  })
  return bits
}

const stop = Symbol('the reason of an abort')

/** Random calls, aborts, trims and deaths on one pool; ends with a close in the middle of it all. */
async function session(seed: number, expected: Map<string, string>): Promise<void> {
  const random = new Random(seed)
  const crew = new WorkerCrew()
  const runtime = await createRuntime({ workers: random.integer(1, 3), sharedMemory: random.pick(['auto', 'never']), workerFactory: crew.workerFactory })
  const pending: Promise<string | undefined>[] = []
  const start = () => {
    const name = random.pick(names)
    const controller = new AbortController()
    const call = runtime.attention(calls[name].inputs, { ...calls[name].options, signal: controller.signal })
    if (random.chance(0.3)) setTimeout(() => controller.abort(stop), random.uniform() * 30)
    pending.push(call.then(
      ({ output, report: { memory } }) => {
        if (fingerprint(output.data) !== expected.get(name)) return `${name}: other bits`
        return memory.peakBytes > memory.plannedBytes ? `${name}: ${memory.peakBytes} bytes, planned ${memory.plannedBytes}` : undefined
      },
      (reason: unknown) => {
        const expectedFailure = reason === stop || (reason instanceof HeddleError && ['WorkerLostError', 'BackendUnavailableError', 'RuntimeClosedError'].includes(reason.code))
        return expectedFailure ? undefined : `${name}: ${String(reason)}`
      },
    ))
  }
  for (let step = 0; step < 25; step++) {
    const action = random.uniform()
    if (action < 0.6) start()
    else if (action < 0.7) void runtime.trim()
    else if (action < 0.8 && crew.alive.length > 0) void random.pick(crew.alive).terminate()
    else await new Promise((resolve) => setTimeout(resolve, random.uniform() * 25))
  }
  await runtime.close()
  const wrong = (await Promise.all(pending)).filter((message) => message !== undefined)
  expect(wrong, `seed ${seed}`).toEqual([])
  await crew.allExited()
  expect(crew.alive, `seed ${seed}`).toEqual([])
}

test(`${sessions} sessions of random calls, aborts, trims and deaths: right bits or typed errors, and nothing left behind`, async () => {
  const expected = await expectedBits()
  for (let number = 0; number < sessions; number++) await session(propertySettings.seed + number, expected)
}, 300_000)
