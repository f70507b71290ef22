import {
  createRuntime,
  type AttentionBackwardOptions,
  type AttentionProgress,
  type Runtime,
  type RuntimeOptions,
} from 'heddle'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { forwardFor, gradientBits, mathematicsOf, type BackwardInputs } from '../support/gradient-checks.ts'
import { fullCase } from '../support/option-cases.ts'
import type { MathOptions } from '../support/problem.ts'
import { Random } from '../support/random.ts'
import { allLanes, useRuntime, WorkerCrew, withRuntime } from '../support/runtimes.ts'
import { fingerprint, normalTensor, shared } from '../support/tensors.ts'
import { delayedWorkers } from '../support/wrapped-worker.ts'

const here = useRuntime({ workers: 0 })
const random = new Random(301)

interface Case {
  readonly name: string
  readonly call: BackwardInputs
  readonly options: MathOptions & AttentionBackwardOptions
}

const cases: Case[] = []
const bits = new Map<string, string>()

/**
 * Several key segments, whose slots are added; grouped heads; a bias of heads of their own, one that they share, and
 * sums.
 */
beforeAll(async () => {
  const dims = { B: 1, H: 4, M: 150, N: 2600 }
  const inputs = {
    query: normalTensor(random, [1, 4, 150, 16]),
    key: normalTensor(random, [1, 2, 2600, 16]),
    value: normalTensor(random, [1, 2, 2600, 8]),
  }
  const add = async (name: string, options: Case['options']): Promise<void> => {
    cases.push({ name, call: await forwardFor(here(), inputs, mathematicsOf(options)), options })
  }
  await add('no option', {})
  await add('causal', { causal: true, queryOffset: 2450 })
  await add('all options', fullCase.options(random, dims))
  await add('shared bias', { bias: normalTensor(random, [150, 2600]) })
  await add('bias of one row', { bias: normalTensor(random, [4, 1, 2600]) })
  await add('bias of one column', { bias: normalTensor(random, [150, 1]) })
  for (const { name, call, options } of cases)
    bits.set(name, gradientBits(await here().attentionBackward(call, options)))
})

const pools: Record<string, RuntimeOptions> = {
  'two workers': { workers: 2 },
  'four workers': { workers: 4 },
  'transferred copies': { workers: 2, sharedMemory: 'never' },
}

describe.each(Object.entries(pools))('%s', (_, pool) => {
  let runtime: Runtime
  beforeAll(async () => {
    runtime = await createRuntime(pool)
  })
  afterAll(() => runtime.close())

  test('the same bits as on the calling thread, for any chunk size', async () => {
    for (const { name, call, options } of cases) {
      for (const chunkSize of [undefined, 1, 64]) {
        const result = await runtime.attentionBackward(
          call,
          chunkSize === undefined ? options : { ...options, chunkSize },
        )
        expect(gradientBits(result), `${name}, ${chunkSize}`).toBe(bits.get(name))
        expect(result.report.reproducible).toBe(true)
        expect(result.report.plan.keySegments).toBe(3)
      }
    }
  })

  test('and from shared inputs, into shared gradients', async () => {
    for (const { name, call, options } of cases) {
      const inShared = Object.fromEntries(
        Object.entries(call).map(([input, tensor]) => [input, shared(tensor as BackwardInputs['query'])]),
      ) as unknown as BackwardInputs
      expect(gradientBits(await runtime.attentionBackward(inShared, options)), name).toBe(bits.get(name))
    }
  })

  test('Pᵀ·X too', async () => {
    for (const {
      name,
      call: { query, key, logSumExp, dOutput },
      options,
    } of cases) {
      const expected = await here().attentionTransposed(
        { query, key, logSumExp, rows: dOutput },
        mathematicsOf(options),
      )
      const actual = await runtime.attentionTransposed({ query, key, logSumExp, rows: dOutput }, mathematicsOf(options))
      expect(fingerprint(actual.output.data), name).toBe(fingerprint(expected.output.data))
    }
  })
})

test('lanes of different speed: slots that come in another order are added in the same', async () => {
  await withRuntime({ workers: 4, workerFactory: delayedWorkers(new Random(302)) }, async (runtime) => {
    for (const { name, call, options } of cases)
      expect(gradientBits(await runtime.attentionBackward(call, options)), name).toBe(bits.get(name))
  })
})

test('workers killed in the middle: the same bits, or WorkerLostError', async () => {
  const { call, options, name } = cases[2]!
  const crew = new WorkerCrew()
  let retried = 0
  await withRuntime({ workers: 2, workerFactory: crew.workerFactory }, async (runtime) => {
    await allLanes(runtime)
    for (let run = 0; run < 12; run++) {
      const share = 0.7 * random.uniform()
      let killed = false
      const onProgress = ({ done, total }: AttentionProgress): void => {
        if (killed || done < share * total) return
        killed = true
        void random.pick(crew.alive).terminate()
      }
      const pending = runtime.attentionBackward(call, { ...options, onProgress }).then(
        (result) => ({ result }),
        (error: unknown) => ({ error }),
      )
      const outcome = await pending
      if ('error' in outcome) {
        expect(outcome.error).toMatchObject({ code: 'WorkerLostError' })
        continue
      }
      expect(gradientBits(outcome.result), name).toBe(bits.get(name))
      expect(outcome.result.report.memory.peakBytes).toBeLessThanOrEqual(outcome.result.report.memory.plannedBytes)
      retried += outcome.result.report.retries
    }
  })
  // A test in which no death ever hit a task would prove nothing.
  expect(retried).toBeGreaterThan(0)
}, 60_000)

test('numerics: portable gives the same bits on workers and on the calling thread', async () => {
  const { call, options } = cases[2]!
  const seen: string[] = []
  for (const workers of [0, 2]) {
    await withRuntime({ workers, numerics: 'portable' }, async (runtime) => {
      const result = await runtime.attentionBackward(call, options)
      expect(result.report.numerics).toBe('portable')
      seen.push(gradientBits(result))
    })
  }
  expect(seen[0]).toBe(seen[1])
})

test('neither the batches and heads beside it nor the layout change a bit of a head whose keys are cut alike', async () => {
  const inputs = {
    query: normalTensor(random, [2, 3, 40, 8]),
    key: normalTensor(random, [2, 3, 300, 8]),
    value: normalTensor(random, [2, 3, 300, 8]),
  }
  const call = await forwardFor(here(), inputs, { causal: true, queryOffset: 260 })
  const all = await here().attentionBackward(call, { causal: true, queryOffset: 260 })
  const headOf = ({ data, shape }: BackwardInputs['query'], head: number, width: number) => {
    const size = shape[2]! * width
    return { data: data.slice(head * size, (head + 1) * size), shape: width === 1 ? [shape[2]!] : [shape[2]!, width] }
  }
  for (let head = 0; head < 6; head++) {
    const alone = Object.fromEntries(
      Object.entries(call).map(([name, tensor]) => [
        name,
        headOf(tensor as BackwardInputs['query'], head, name === 'logSumExp' ? 1 : 8),
      ]),
    ) as unknown as BackwardInputs
    const result = await here().attentionBackward(alone, { causal: true, queryOffset: 260 })
    for (const name of ['dQuery', 'dKey', 'dValue'] as const)
      expect(fingerprint(result[name].data), `${name}, head ${head}`).toBe(fingerprint(headOf(all[name], head, 8).data))
  }
})
