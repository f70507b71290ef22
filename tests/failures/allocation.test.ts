import { createRuntime, HeddleError, MemoryBudgetError } from 'heddle'
import { afterEach, describe, expect, test } from 'vitest'
import { Random } from '../support/random.ts'
import { fingerprint, normalTensor } from '../support/tensors.ts'

const real = { SharedArrayBuffer, ArrayBuffer }
const same = normalTensor(new Random(241), [2, 60, 8])
const call = { query: same, key: normalTensor(new Random(242), [2, 60, 8]), value: same }
const options = { chunkSize: 10, returnLogSumExp: true, returnStatistics: true, returnWeights: true } as const

/** The n-th buffer of this class that is made from now on is refused, as when the engine is out of memory. */
function failAllocation(Class: keyof typeof real, nth: number): () => number {
  let count = 0
  const refusing = new Proxy(real[Class], {
    construct(target, [bytes]: [number]) {
      if (++count === nth) throw new RangeError('Array buffer allocation failed')
      return new target(bytes)
    },
  })
  Object.assign(globalThis, { [Class]: refusing })
  return () => count
}

afterEach(() => {
  Object.assign(globalThis, real)
})

test.each([
  { Class: 'SharedArrayBuffer', runtimeOptions: { workers: 2 } },
  { Class: 'ArrayBuffer', runtimeOptions: { workers: 2 } },
  { Class: 'ArrayBuffer', runtimeOptions: { workers: 2, sharedMemory: 'never' } },
  { Class: 'ArrayBuffer', runtimeOptions: { workers: 0 } },
] as const)(
  'the n-th $Class is refused with $runtimeOptions: MemoryBudgetError with its cause, and the runtime is usable after',
  async ({ Class, runtimeOptions }) => {
    const runtime = await createRuntime(runtimeOptions)
    try {
      const expected = fingerprint((await runtime.attention(call, options)).output.data)
      let failures = 0
      for (let nth = 1; nth <= 20; nth++) {
        const made = failAllocation(Class, nth)
        const outcome = await runtime.attention(call, options).then(
          ({ output }) => fingerprint(output.data),
          (error: unknown) => error,
        )
        const reached = made() >= nth
        Object.assign(globalThis, real)
        if (reached) {
          failures++
          expect(outcome).toBeInstanceOf(MemoryBudgetError)
          expect((outcome as Error).cause).toBeInstanceOf(RangeError)
        } else {
          expect(outcome).toBe(expected)
        }
        expect(fingerprint((await runtime.attention(call, options)).output.data)).toBe(expected)
      }
      expect(failures).toBeGreaterThan(1)
    } finally {
      await runtime.close()
    }
  },
)

describe('a memory budget', () => {
  const inputs = {
    query: normalTensor(new Random(243), [4, 300, 16]),
    key: normalTensor(new Random(244), [4, 300, 16]),
    value: normalTensor(new Random(245), [4, 300, 16]),
  }

  test('that is too small: the error says which would do, and with that it runs within it', async () => {
    const tight = await createRuntime({ workers: 2, memoryBudgetBytes: 1000 })
    const error: unknown = await tight.attention(inputs).then(
      () => 'no error',
      (reason: unknown) => reason,
    )
    await tight.close()
    expect(error).toBeInstanceOf(MemoryBudgetError)
    const { smallestBudgetBytes } = error as MemoryBudgetError
    expect(smallestBudgetBytes).toBeGreaterThan(1000)
    const enough = await createRuntime({ workers: 2, memoryBudgetBytes: smallestBudgetBytes! })
    try {
      const { report } = await enough.attention(inputs)
      expect(report.memory.peakBytes).toBeLessThanOrEqual(report.memory.plannedBytes)
      expect(report.plan.budgetedBytes).toBeLessThanOrEqual(smallestBudgetBytes!)
    } finally {
      await enough.close()
    }
    const oneLess = await createRuntime({ workers: 2, memoryBudgetBytes: smallestBudgetBytes! - 1 })
    await expect(oneLess.attention(inputs)).rejects.toBeInstanceOf(MemoryBudgetError)
    await oneLess.close()
  })

  test('standard mode beyond it names the form that asks for heads and rows', async () => {
    const runtime = await createRuntime({ workers: 1, memoryBudgetBytes: 20_000_000 })
    const shapes = { query: [1, 8, 20000, 64], key: [1, 8, 20000, 64], value: [1, 8, 20000, 64] }
    try {
      expect(() => runtime.plan(shapes, { returnWeights: true })).toThrow(MemoryBudgetError)
      expect(() => runtime.plan(shapes, { returnWeights: true })).toThrow(/heads, rows/)
    } finally {
      await runtime.close()
    }
  })
})

test('a size that no engine allocates is a typed error', async () => {
  const runtime = await createRuntime({ workers: 0 })
  try {
    expect(() => runtime.tensor([2 ** 20, 2 ** 20, 2 ** 10])).toThrow(HeddleError)
  } finally {
    await runtime.close()
  }
})
