import { runInNewContext } from 'node:vm'
import { attention, OptionError, tensor, type IntegerArray } from 'heddle'
import { CausalLanguageModel, TransformerBlock } from 'heddle/nn'
import { describe, expect, it } from 'vitest'
import { isIntegerArray } from '../../src/core/integer-arrays.ts'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { normalTensor } from '../support/tensors.ts'

const runtime = useRuntime({ workers: 0 })
const random = new Random(5)
const x = normalTensor(random, [2, 5, 8])

/** The same integers in every type. @param least a value that needs a sign where it is below 0 */
const kinds: readonly (readonly [string, (values: readonly number[]) => IntegerArray])[] = [
  ['Int8Array', (values) => Int8Array.from(values)],
  ['Uint8ClampedArray', (values) => Uint8ClampedArray.from(values)],
  ['Int16Array', (values) => Int16Array.from(values)],
  ['Uint16Array', (values) => Uint16Array.from(values)],
  ['Uint32Array', (values) => Uint32Array.from(values)],
  ['BigInt64Array', (values) => BigInt64Array.from(values, BigInt)],
  ['BigUint64Array', (values) => BigUint64Array.from(values, BigInt)],
  ['another realm’s BigInt64Array', (values) => bigIntsElsewhere(values.map(BigInt))],
]
const bigIntsElsewhere = runInNewContext('(values) => BigInt64Array.from(values)') as (
  values: readonly bigint[],
) => BigInt64Array

describe.each(kinds)('%s', (_name, make) => {
  const mask = [1, 0, 7, 1, 0, 0, 1, 1, 1, 0]

  it('is a mask, segments, lengths and offsets of attention', async () => {
    const plain = {
      mask: tensor(Uint8Array.from(mask), [2, 1, 5]),
      segments: { query: tensor(Int32Array.from(mask), [2, 5]), key: tensor(Int32Array.from(mask), [2, 5]) },
      keyLengths: Int32Array.of(5, 3),
      queryOffset: Int32Array.of(0, 2),
      causal: true,
    }
    const given = {
      mask: tensor(make(mask), [2, 1, 5]),
      segments: { query: tensor(make(mask), [2, 5]), key: tensor(make(mask), [2, 5]) },
      keyLengths: make([5, 3]),
      queryOffset: make([0, 2]),
      causal: true,
    }
    const inputs = { query: x, key: x, value: x }
    const expected = await runtime().attention(inputs, plain)
    expect((await runtime().attention(inputs, given)).output).toEqual(expected.output)
  })

  it('is a key mask, together with segments', async () => {
    const block = new TransformerBlock({ modelDim: 8, heads: 2, seed: 1 })
    const run = async (data: (values: readonly number[]) => IntegerArray) => {
      const segments = { query: tensor(data([0, 0, 1, 1, 1, 0, 0, 0, 1, 1]), [2, 5]) }
      const options = { keyMask: tensor(data(mask), [2, 5]), segments: { ...segments, key: segments.query } }
      return (await block.forward(x, { runtime: runtime(), ...options })).output
    }
    expect(await run(make)).toEqual(await run((values) => Int32Array.from(values)))
  })

  it('is tokens, positions and prompts', async () => {
    const model = new CausalLanguageModel({ vocabulary: 9, modelDim: 8, heads: 2, layers: 1, seed: 2 })
    const ids = [1, 2, 3, 8]
    const tokens = (data: IntegerArray) => tensor(data as Int32Array, [1, 4])
    const positions = [0, 1, 0, 1]
    const run = async (data: (values: readonly number[]) => IntegerArray) => {
      const options = { runtime: runtime(), positions: tensor(data(positions), [1, 4]) }
      return (await model.forward(tokens(data(ids)), options)).output
    }
    expect(await run(make)).toEqual(await run((values) => Int32Array.from(values)))
    const generated = await model.generate([make(ids)], { maxNewTokens: 3, seed: 1, runtime: runtime() })
    expect(generated).toEqual(await model.generate([ids], { maxNewTokens: 3, seed: 1, runtime: runtime() }))
  })
})

describe('integers', () => {
  it('beyond int32 are refused, and so are floats as a mask', async () => {
    const inputs = { query: x, key: x, value: x }
    const wide = tensor(
      BigInt64Array.from({ length: 10 }, () => 2n ** 31n),
      [2, 5],
    )
    await expect(attention(inputs, { segments: { query: wide, key: wide } })).rejects.toThrow(
      /segments\.query: expected integers within int32, got 2147483648/,
    )
    const floats = tensor(new Float32Array(25), [5, 5])
    await expect(attention(inputs, { mask: floats as never })).rejects.toThrow(OptionError)
    expect(() => tensor(new Float64Array(2) as never, [2])).toThrow(/typed array of integers, got Float64Array/)
  })

  it('are told from other views', () => {
    for (const other of [new Float32Array(1), new Float64Array(1), new DataView(new ArrayBuffer(1)), [1], null])
      expect(isIntegerArray(other)).toBe(false)
  })
})
