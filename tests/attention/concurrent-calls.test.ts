import { attention, createRuntime } from 'heddle'
import { describe, expect, test } from 'vitest'
import { fullCase, type Dims } from '../support/option-cases.ts'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { fingerprint, normalTensor } from '../support/tensors.ts'

const runtime = useRuntime({ workers: 2 })

function calls(count: number) {
  const random = new Random(141)
  return Array.from({ length: count }, () => {
    const dims: Dims = {
      B: random.integer(1, 2),
      H: random.integer(1, 3),
      M: random.integer(1, 60),
      N: random.integer(1, 90),
    }
    const { B, H, M, N } = dims
    const D = random.integer(1, 20)
    const inputs = {
      query: normalTensor(random, [B, H, M, D]),
      key: normalTensor(random, [B, H, N, D]),
      value: normalTensor(random, [B, H, N, D]),
    }
    return {
      inputs,
      options: { ...fullCase.options(random, dims), chunkSize: random.integer(1, 30), returnLogSumExp: true },
    }
  })
}

test('twenty different calls at once give what each gives alone', async () => {
  const all = calls(20)
  const alone: string[] = []
  for (const { inputs, options } of all)
    alone.push(fingerprint((await runtime().attention(inputs, options)).output.data))
  const together = await Promise.all(all.map(({ inputs, options }) => runtime().attention(inputs, options)))
  expect(together.map(({ output }) => fingerprint(output.data))).toEqual(alone)
})

describe('the default runtime', () => {
  test('is made at first use, and shared by calls that start together', async () => {
    const [first] = calls(1)
    const expected = fingerprint((await runtime().attention(first!.inputs, first!.options)).output.data)
    const results = await Promise.all(Array.from({ length: 4 }, () => attention(first!.inputs, first!.options)))
    expect(results.map(({ output }) => fingerprint(output.data))).toEqual(Array(4).fill(expected))
  })
})

test('several runtimes may be opened at once and used side by side', async () => {
  const [first] = calls(1)
  const runtimes = await Promise.all([0, 1, 2].map((workers) => createRuntime({ workers })))
  try {
    const results = await Promise.all(runtimes.map((each) => each.attention(first!.inputs, first!.options)))
    expect(new Set(results.map(({ output }) => fingerprint(output.data))).size).toBe(1)
  } finally {
    await Promise.all(runtimes.map((each) => each.close()))
  }
})
