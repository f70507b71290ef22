import { createRuntime, HeddleError, type AttentionInputs, type AttentionOptions, type Runtime } from 'heddle'
import { TransformerEncoder } from 'heddle/nn'
import { expect, test } from 'vitest'
import { propertySettings } from '../support/random-calls.ts'
import { Random } from '../support/random.ts'
import { turns, withRuntime, WorkerCrew } from '../support/runtimes.ts'
import { filled, fingerprint, normalTensor } from '../support/tensors.ts'

console.info(`random actions: HEDDLE_SEED=${propertySettings.seed}`)

const sessions = process.env['HEDDLE_HEAVY'] === '1' ? 150 : 8
const small = normalTensor(new Random(261), [40, 8])
const large = filled([2, 2500, 32], (at) => Math.sin(at * 0.3))
const few = { query: filled([3, 16], Math.cos), keys: filled([9000, 16], (at) => Math.sin(at)) }

const encoder = new TransformerEncoder({ modelDim: 32, heads: 4, feedForwardDim: 64, layers: 3 })

type Call = (
  runtime: Runtime,
  signal?: AbortSignal,
) => Promise<{ readonly data: Float32Array; readonly withinPlan: boolean }>

function attends(inputs: AttentionInputs, options: AttentionOptions): Call {
  return async (runtime, signal) => {
    const { output, report } = await runtime.attention(inputs, {
      ...options,
      ...(signal === undefined ? {} : { signal }),
    })
    return { data: output.data, withinPlan: report.memory.peakBytes <= report.memory.plannedBytes }
  }
}

const calls: Readonly<Record<string, Call>> = {
  small: attends({ query: small, key: small, value: small }, { chunkSize: 5 }),
  large: attends({ query: large, key: large, value: large }, { causal: true, chunkSize: 100, returnLogSumExp: true }),
  'one task': attends({ query: large, key: large, value: large }, { chunkSize: 2500 }),
  weights: attends({ query: small, key: small, value: small }, { returnWeights: true, returnStatistics: true }),
  'few rows': attends({ query: few.query, key: few.keys, value: few.keys }, {}),
  encoder: async (runtime, signal) => {
    const { output } = await encoder.forward(large, {
      runtime,
      causal: true,
      chunkSize: 64,
      ...(signal === undefined ? {} : { signal }),
    })
    return { data: output.data, withinPlan: true }
  },
}
const names = Object.keys(calls)

async function expectedBits(): Promise<Map<string, string>> {
  const bits = new Map<string, string>()
  await withRuntime({ workers: 0 }, async (runtime) => {
    for (const name of names) bits.set(name, fingerprint((await (calls[name] as Call)(runtime)).data))
  })
  return bits
}

const stop = Symbol('the reason of an abort')

/** Random calls, aborts, trims and deaths on one pool; ends with a close in the middle of it all. */
async function session(seed: number, expected: Map<string, string>): Promise<void> {
  const random = new Random(seed)
  const crew = new WorkerCrew()
  const runtime = await createRuntime({
    workers: random.integer(1, 3),
    sharedMemory: random.pick(['auto', 'never']),
    workerFactory: crew.workerFactory,
  })
  // An encoder makes the lanes' memory grow; calls beside it count that too, beyond their plans.
  const withEncoder = random.chance(0.5)
  const pending: Promise<string | undefined>[] = []
  const start = () => {
    const name = random.pick(names.filter((other) => withEncoder || other !== 'encoder'))
    const controller = new AbortController()
    const call = (calls[name] as Call)(runtime, controller.signal)
    if (random.chance(0.3)) void turns(random.integer(0, 300)).then(() => controller.abort(stop))
    pending.push(
      call.then(
        ({ data, withinPlan }) => {
          if (fingerprint(data) !== expected.get(name)) return `${name}: other bits`
          return withinPlan || withEncoder ? undefined : `${name}: more bytes than planned`
        },
        (reason: unknown) => {
          const expectedFailure =
            reason === stop ||
            (reason instanceof HeddleError &&
              ['WorkerLostError', 'BackendUnavailableError', 'RuntimeClosedError'].includes(reason.code))
          return expectedFailure ? undefined : `${name}: ${String(reason)}`
        },
      ),
    )
  }
  for (let step = 0; step < 25; step++) {
    const action = random.uniform()
    if (action < 0.6) start()
    else if (action < 0.7) void runtime.trim()
    else if (action < 0.8 && crew.alive.length > 0) void random.pick(crew.alive).terminate()
    else await turns(random.integer(0, 200))
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
