import type { AttentionOptions, AttentionResult, Runtime } from 'heddle'
import { createRuntime } from 'heddle'
import { describe, expect, test } from 'vitest'
import { expectResult } from '../support/expect-attention.ts'
import { fullCase, singleCases } from '../support/option-cases.ts'
import { attentionReference } from '../support/oracle.ts'
import type { AttentionInputs, MathOptions } from '../support/problem.ts'
import { Random } from '../support/random.ts'
import { useRuntime, WorkerCrew } from '../support/runtimes.ts'
import { fingerprint, normalTensor, shared } from '../support/tensors.ts'

// Whole small heads go to a lane many at a time, and a kernel takes several of them in one call; in chunks of 8 rows
// every chunk is a task of its own, whose bits must be the same.
const pools: Record<string, () => Runtime> = {
  'the calling thread': useRuntime({ workers: 0 }),
  'one worker': useRuntime({ workers: 1 }),
  'two workers': useRuntime({ workers: 2 }),
  'two workers without shared memory': useRuntime({ workers: 2, sharedMemory: 'never' }),
}
const alone = pools['the calling thread']!
const WHOLE = { chunkSize: 100 }
const CHUNKS = { chunkSize: 8 }
const everything = { returnLogSumExp: true, returnStatistics: true }
const dims = { B: 6, H: 4, M: 49, N: 53 }

function problem({ B, H, M, N }: typeof dims, D = 20, Dv = 13, keyHeads = H): AttentionInputs {
  const random = new Random(B * 1000 + N)
  return {
    query: normalTensor(random, [B, H, M, D]),
    key: normalTensor(random, [B, keyHeads, N, D]),
    value: normalTensor(random, [B, keyHeads, N, Dv]),
  }
}

function bitsOf({ output, logSumExp, statistics }: AttentionResult): string {
  return Object.entries({ output, logSumExp, ...statistics })
    .map(([name, part]) => `${name} ${part === undefined ? '-' : fingerprint(part.data)}`)
    .join(', ')
}

/** Every pool, from plain and from shared memory, has the bits of small chunks; those are the oracle's. */
async function expectBitsOfChunks(inputs: AttentionInputs, options: MathOptions & AttentionOptions): Promise<void> {
  const { queries } = alone().plan(inputs, options).sizes
  const chunkSize = Math.min(8, Math.ceil(queries / 2))
  const expected = await alone().attention(inputs, { ...options, ...everything, chunkSize })
  expectResult(expected, attentionReference(inputs, options))
  const inShared = { query: shared(inputs.query), key: shared(inputs.key), value: shared(inputs.value) }
  for (const [name, pool] of Object.entries(pools)) {
    for (const [memory, tensors] of Object.entries({ plain: inputs, shared: inShared })) {
      const result = await pool().attention(tensors, { ...options, ...everything, ...WHOLE })
      expect(bitsOf(result), `${name}, ${memory}`).toBe(bitsOf(expected))
      expect(result.report.memory.peakBytes).toBeLessThanOrEqual(result.report.memory.plannedBytes)
      const together = result.report.transport === 'transfer' ? 1 : 4
      expect(result.report.plan.tasksPerMessage, name).toBeGreaterThanOrEqual(together)
    }
  }
}

describe('the bits of one chunk after the other', () => {
  test.each([...singleCases, fullCase])('$name', async ({ options }) => {
    await expectBitsOfChunks(problem(dims), options(new Random(31), dims))
  })

  test('grouped heads', async () => {
    await expectBitsOfChunks(problem(dims, 16, 16, 2), {})
  })

  test('heads of one tensor [B, N, E]', async () => {
    const random = new Random(32)
    const tensors = {
      query: normalTensor(random, [5, 30, 4 * 12]),
      key: normalTensor(random, [5, 41, 2 * 12]),
      value: normalTensor(random, [5, 41, 2 * 8]),
    }
    await expectBitsOfChunks(tensors, { heads: 4, keyValueHeads: 2, causal: true })
  })

  test('queries that see no key, in some batches and in all', async () => {
    await expectBitsOfChunks(problem(dims), { keyLengths: Int32Array.of(0, 53, 1, 0, 52, 4) })
    await expectBitsOfChunks(problem(dims), { causal: true, queryOffset: -200 })
  })

  test.each([1, 3, 5, 8, 64, 65])('%i query rows', async (M) => {
    await expectBitsOfChunks(problem({ ...dims, M }), {})
  })

  test('more keys than one block has', async () => {
    await expectBitsOfChunks(problem({ B: 2, H: 3, M: 20, N: 300 }), {})
  })

  test('NaN and infinities of one head stay there', async () => {
    const inputs = problem(dims)
    // Of rows in the middle: queries before them do not see them under a causal mask.
    inputs.query.data[(2 * 49 + 20) * 20 + 7] = NaN
    inputs.key.data[(5 * 53 + 30) * 20 + 3] = Infinity
    inputs.value.data[(9 * 53 + 27) * 13 + 11] = -Infinity
    await expectBitsOfChunks(inputs, {})
    await expectBitsOfChunks(inputs, { causal: true })
  })
})

test('the output alone, over several messages and many heads per kernel call', async () => {
  const inputs = problem({ B: 30, H: 6, M: 49, N: 49 }, 32, 32)
  const expected = fingerprint((await alone().attention(inputs, CHUNKS)).output.data)
  for (const [name, pool] of Object.entries(pools)) {
    const { output, report } = await pool().attention(inputs)
    expect(fingerprint(output.data), name).toBe(expected)
    if (report.transport === 'shared') expect(report.plan.tasksPerMessage).toBeLessThan(180)
  }
})

test('every head is told of once, and its chunk is the output’s', async () => {
  const inputs = problem(dims)
  const seen = new Map<string, Float32Array>()
  const spans: number[] = []
  const { output } = await pools['two workers']!().attention(inputs, {
    ...WHOLE,
    onTask: ({ startMs, endMs }) => spans.push(endMs - startMs),
    onChunk: ({ batch, head, output: rows }) => seen.set(`${batch}:${head}`, rows),
  })
  expect(spans).toHaveLength(24)
  expect(Math.min(...spans)).toBeGreaterThanOrEqual(0)
  expect(seen.size).toBe(24)
  for (const [place, rows] of seen) {
    const [batch, head] = place.split(':').map(Number) as [number, number]
    const at = (batch * 4 + head) * 49 * 13
    expect(fingerprint(rows), place).toBe(fingerprint(output.data.slice(at, at + 49 * 13)))
  }
})

test('a worker that dies under such a task: it is done again, with the same bits', async () => {
  const crew = new WorkerCrew()
  let killed = false
  const runtime = await createRuntime({
    workers: 2,
    workerFactory: () => {
      const worker = crew.workerFactory()
      let messages = 0
      const post = worker.postMessage.bind(worker)
      worker.postMessage = (...message: Parameters<typeof post>) => {
        post(...message)
        // The second message, after its start, is a task.
        if (!killed && ++messages === 2) {
          killed = true
          void worker.terminate()
        }
      }
      return worker
    },
  })
  try {
    const inputs = problem({ B: 30, H: 6, M: 49, N: 49 }, 32, 32)
    const expected = await alone().attention(inputs, { ...CHUNKS, ...everything })
    const result = await runtime.attention(inputs, everything)
    expect(result.report.retries).toBeGreaterThan(0)
    expect(bitsOf(result)).toBe(bitsOf(expected))
  } finally {
    await runtime.close()
  }
})
