import type { AttentionBackwardInputs, AttentionBackwardOptions, AttentionTransposedInputs } from 'heddle'
import { beforeAll, describe, expect, test } from 'vitest'
import { forwardFor, gradientBits, type BackwardInputs } from '../support/gradient-checks.ts'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { filled, normalTensor } from '../support/tensors.ts'

const runtime = useRuntime({ workers: 1 })
const random = new Random(311)
const inputs = {
  query: normalTensor(random, [2, 5, 4]),
  key: normalTensor(random, [2, 7, 4]),
  value: normalTensor(random, [2, 7, 3]),
}
let good: BackwardInputs
let bits: string
beforeAll(async () => {
  good = await forwardFor(runtime(), inputs)
  bits = gradientBits(await runtime().attentionBackward(good))
})

interface BadCase {
  readonly name: string
  readonly inputs?: (call: BackwardInputs) => unknown
  readonly options?: Record<string, unknown>
  readonly code: string
  readonly message: RegExp
}

const bad: readonly BadCase[] = [
  {
    name: 'a dOutput of another shape',
    inputs: (call) => ({ ...call, dOutput: filled([2, 5, 4], () => 1) }),
    code: 'ShapeError',
    message: /dOutput: expected shape \[2, 5, 3\], got \[2, 5, 4\]/,
  },
  {
    name: 'a dOutput of another rank',
    inputs: (call) => ({ ...call, dOutput: filled([10, 3], () => 1) }),
    code: 'ShapeError',
    message: /dOutput: expected shape \[2, 5, 3\], got \[10, 3\]/,
  },
  {
    name: 'a logSumExp of another shape',
    inputs: (call) => ({ ...call, logSumExp: filled([2, 7], () => 1) }),
    code: 'ShapeError',
    message: /logSumExp: expected shape \[2, 5\], got \[2, 7\]/,
  },
  {
    name: 'an output of another shape',
    inputs: (call) => ({ ...call, output: filled([2, 7, 3], () => 1) }),
    code: 'ShapeError',
    message: /output: expected shape \[2, 5, 3\], got \[2, 7, 3\]/,
  },
  {
    name: 'no output',
    inputs: ({ output: _output, ...rest }) => rest,
    code: 'OptionError',
    message: /output: expected a tensor .*, got undefined/,
  },
  {
    name: 'no logSumExp',
    inputs: ({ logSumExp: _logSumExp, ...rest }) => rest,
    code: 'OptionError',
    message: /logSumExp: expected a tensor .*, got undefined/,
  },
  {
    name: 'a misspelt input',
    inputs: (call) => ({ ...call, dOuput: call.dOutput }),
    code: 'OptionError',
    message: /got "dOuput" \(did you mean dOutput\?\)/,
  },
  {
    name: 'a dOutput of float64',
    inputs: (call) => ({ ...call, dOutput: { data: new Float64Array(30), shape: [2, 5, 3] } }),
    code: 'OptionError',
    message: /dOutput: expected data as a Float32Array, got Float64Array/,
  },
  {
    name: 'fewer elements than the shape says',
    inputs: (call) => ({ ...call, dOutput: { data: new Float32Array(29), shape: [2, 5, 3] } }),
    code: 'ShapeError',
    message: /dOutput: expected 30 elements/,
  },
  {
    name: 'keys of another head size',
    inputs: (call) => ({ ...call, key: filled([2, 7, 5], () => 1) }),
    code: 'ShapeError',
    message: /expected key \[2, N, 4\]/,
  },
  {
    name: 'dropout without a seed',
    options: { dropout: { probability: 0.5 } },
    code: 'OptionError',
    message: /dropout\.seed: expected .*, got undefined/,
  },
  {
    name: 'an option of forward that has no meaning here',
    options: { returnWeights: true },
    code: 'OptionError',
    message: /expected names among .*, got "returnWeights"/,
  },
  {
    name: 'an option that forward refuses',
    options: { softcap: -1 },
    code: 'OptionError',
    message: /softcap: expected a number ≥ 0/,
  },
  {
    name: 'a bias that does not broadcast',
    options: { bias: filled([3, 7], () => 0) },
    code: 'ShapeError',
    message: /expected bias to broadcast to \[2, 5, 7\], got \[3, 7\]/,
  },
  {
    name: 'biasGradient that is no boolean',
    options: { biasGradient: 1 },
    code: 'OptionError',
    message: /biasGradient: expected true or false/,
  },
  {
    name: 'chunkSize 0',
    options: { chunkSize: 0 },
    code: 'OptionError',
    message: /chunkSize: expected an integer ≥ 1/,
  },
  {
    name: 'a signal that is none',
    options: { signal: {} },
    code: 'OptionError',
    message: /signal: expected an AbortSignal/,
  },
]

describe('attentionBackward', () => {
  test.each(bad)('$name', async ({ inputs: of, options, code, message }) => {
    const call = of === undefined ? good : of(good)
    const error: unknown = await runtime()
      .attentionBackward(call as AttentionBackwardInputs, (options ?? {}) as AttentionBackwardOptions)
      .then(
        () => 'no error',
        (reason: unknown) => reason,
      )
    expect(error).toMatchObject({ code })
    expect((error as Error).message).toMatch(message)
    // The runtime is usable after it.
    expect(gradientBits(await runtime().attentionBackward(good))).toBe(bits)
  })

  test('a NaN in logSumExp is no error', async () => {
    const logSumExp = { ...good.logSumExp, data: good.logSumExp.data.map((x, at) => (at === 2 ? NaN : x)) }
    const { dQuery } = await runtime().attentionBackward({ ...good, logSumExp })
    expect([...dQuery.data.subarray(8, 12)]).toEqual([NaN, NaN, NaN, NaN])
    expect([...dQuery.data.subarray(0, 8), ...dQuery.data.subarray(12)].every(Number.isFinite)).toBe(true)
  })
})

describe('planBackward', () => {
  test.each([
    { what: null, message: /expected an object, got null/ },
    { what: { query: [2, 5, 4], key: [2, 7, 4] }, message: /value: expected a shape/ },
    { what: { query: [2, 5, 4], key: [2, 7, 4], value: 7 }, message: /value: expected a shape/ },
  ])('$what', async ({ what, message }) => {
    await expect(runtime().planBackward(what as never)).rejects.toThrow(message)
  })

  test('sizes past 2^53', async () => {
    const shape = [2 ** 30, 2 ** 30]
    await expect(runtime().planBackward({ query: shape, key: shape, value: shape })).rejects.toMatchObject({
      code: 'ShapeError',
    })
  })

  test('more memory than any machine has, at once and in arithmetic alone', async () => {
    const shape = [2 ** 24, 8, 64]
    await expect(
      runtime().planBackward({ query: shape, key: shape, value: shape }, { biasGradient: false }),
    ).rejects.toMatchObject({ code: 'MemoryBudgetError' })
  })
})

describe('attentionTransposed', () => {
  const call = (more: object): AttentionTransposedInputs => ({
    query: good.query,
    key: good.key,
    logSumExp: good.logSumExp,
    ...more,
  })

  test.each([
    {
      name: 'rows of another number',
      more: { rows: filled([2, 7, 3], () => 1) },
      code: 'ShapeError',
      message: /expected rows \[2, 5, C\] for query \[2, 5, 4\], got \[2, 7, 3\]/,
    },
    {
      name: 'rows of another rank',
      more: { rows: filled([10, 3], () => 1) },
      code: 'ShapeError',
      message: /expected rows \[2, 5, C\]/,
    },
    {
      name: 'rows without columns',
      more: { rows: filled([2, 5, 0], () => 1) },
      code: 'ShapeError',
      message: /expected rows \[2, 5, C\]/,
    },
    {
      name: 'a logSumExp of another shape',
      more: { logSumExp: filled([5], () => 1) },
      code: 'ShapeError',
      message: /logSumExp: expected shape \[2, 5\], got \[5\]/,
    },
    { name: 'a value', more: { value: filled([2, 7, 3], () => 1) }, code: 'OptionError', message: /got "value"/ },
  ])('$name', async ({ more, code, message }) => {
    const error: unknown = await runtime()
      .attentionTransposed(call(more))
      .then(
        () => 'no error',
        (reason: unknown) => reason,
      )
    expect(error).toMatchObject({ code })
    expect((error as Error).message).toMatch(message)
    expect((await runtime().attentionTransposed(call({}))).output.shape).toEqual([2, 7, 1])
  })

  test('packed rows that do not divide by the heads', async () => {
    const packed = await forwardFor(
      runtime(),
      {
        query: normalTensor(random, [1, 5, 8]),
        key: normalTensor(random, [1, 5, 8]),
        value: normalTensor(random, [1, 5, 8]),
      },
      { heads: 2 },
    )
    const { query, key, logSumExp } = packed
    await expect(
      runtime().attentionTransposed({ query, key, logSumExp, rows: filled([1, 5, 3], () => 1) }, { heads: 2 }),
    ).rejects.toThrow(/expected rows \[1, 5, H·C\]/)
  })
})
