import { runInNewContext } from 'node:vm'
import {
  attention,
  closeDefaultRuntime,
  createRuntime,
  tensor,
  type AttentionInputs,
  type AttentionOptions,
  type Tensor,
} from 'heddle'
import { Linear, MultiHeadAttention, readSafetensors, TransformerBlock } from 'heddle/nn'
import { crossEntropy, lossAndGradients } from 'heddle/train'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { filled, fingerprint, normalTensor } from '../support/tensors.ts'

/** What the tests change while a call is under way: the types say that nobody does. */
interface Changing {
  data: Tensor['data']
  shape: number[]
}

const random = new Random(311)
const changing = ({ data, shape }: Tensor): Changing => ({ data: data.slice(), shape: [...shape] })
/** Few rows stay on the calling thread, many go to workers. */
const inputsOf = (rows: number): AttentionInputs => ({
  query: normalTensor(random, [rows, 16]),
  key: normalTensor(random, [rows, 16]),
  value: normalTensor(random, [rows, 16]),
})
const SIZES = { 'a few rows': inputsOf(8), 'many rows': inputsOf(600) }

const HOSTS = [
  ['the calling thread', { workers: 0 }],
  ['two workers', { workers: 2 }],
  ['a worker, by transfer', { workers: 1, sharedMemory: 'never' }],
] as const

function transferAway({ data: { buffer } }: { readonly data: { readonly buffer: ArrayBufferLike } }): void {
  structuredClone(buffer, { transfer: [buffer as ArrayBuffer] })
}

describe.each(HOSTS)('on %s', (_, options) => {
  const runtime = useRuntime(options)

  describe.each(Object.entries(SIZES))('with %s', (_size, inputs) => {
    test('inputs and options count as they were when the call was made', async () => {
      const expected = fingerprint((await runtime().attention(inputs)).output.data)
      const rows = inputs.query.shape[0]!
      const given = { query: changing(inputs.query), key: changing(inputs.key), value: changing(inputs.value) }
      const mask = { data: new Uint8Array(rows * rows).fill(1), shape: [rows, rows] }
      const alibiSlopes = new Float32Array(1)
      const chosen = { causal: false, mask, alibiSlopes }
      const running = runtime().attention(given, chosen)
      for (const tensor of Object.values(given))
        Object.assign(tensor, { data: new Float32Array(rows * 16), shape: [0, 16] })
      Object.assign(given, { value: filled([rows, 16], () => 7) })
      mask.data = new Uint8Array(rows * rows)
      alibiSlopes.fill(3)
      chosen.causal = true
      expect(fingerprint((await running).output.data)).toBe(expected)
    })

    test.each(['query', 'key', 'value', 'out'] as const)(
      'a %s that is transferred away meanwhile: OptionError',
      async (which) => {
        const out = changing(inputs.query)
        const given = { query: changing(inputs.query), key: changing(inputs.key), value: changing(inputs.value) }
        const running = runtime().attention(given, { out })
        transferAway({ ...given, out }[which])
        await expect(running).rejects.toMatchObject({
          code: 'OptionError',
          message: expect.stringContaining('transferred or resized') as string,
        })
      },
    )

    test('a buffer that shrinks meanwhile: OptionError', async () => {
      const { data, shape } = inputs.value
      const buffer = Reflect.construct(ArrayBuffer, [
        data.byteLength,
        { maxByteLength: data.byteLength },
      ]) as ArrayBuffer & { resize(bytes: number): void }
      const value = { data: new Float32Array(buffer), shape }
      value.data.set(data)
      const running = runtime().attention({ ...inputs, value })
      buffer.resize(64)
      await expect(running).rejects.toMatchObject({ code: 'OptionError' })
    })
  })

  test('layers read their input at the call, and refuse one that is transferred away meanwhile', async () => {
    const block = new TransformerBlock({ modelDim: 16, heads: 2, feedForwardDim: 32, seed: 1 })
    const input = changing(normalTensor(random, [1, 300, 16]))
    const original = input.data
    const expected = fingerprint((await block.forward(input, { runtime: runtime() })).output.data)
    const dOutput = changing(input)
    const expectedGradient = fingerprint((await block.backward(input, dOutput, { runtime: runtime() })).dInput!.data)
    const running = block.forward(input, { runtime: runtime() })
    const gradients = block.backward(input, dOutput, { runtime: runtime() })
    input.data = new Float32Array(4800)
    dOutput.data = input.data
    expect(fingerprint((await running).output.data)).toBe(expected)
    expect(fingerprint((await gradients).dInput!.data)).toBe(expectedGradient)
    input.data = original
    const refused = [block.forward(input, { runtime: runtime() }), block.backward(input, input, { runtime: runtime() })]
    transferAway(input)
    for (const call of refused) await expect(call).rejects.toMatchObject({ code: 'OptionError' })
  })

  test('backward and transposed attention refuse what is transferred away meanwhile', async () => {
    const { query, key, value } = SIZES['many rows']
    const { output, logSumExp } = await runtime().attention({ query, key, value }, { returnLogSumExp: true })
    const given = { query, key: changing(key), value, output, logSumExp: logSumExp, dOutput: output }
    const running = runtime().attentionBackward(given)
    transferAway(given.key)
    await expect(running).rejects.toMatchObject({ code: 'OptionError' })
    const rows = changing(query)
    const transposed = runtime().attentionTransposed({ query, key, logSumExp: logSumExp, rows })
    transferAway(rows)
    await expect(transposed).rejects.toMatchObject({ code: 'OptionError' })
  })
})

test('the default runtime’s calls are read before it has started', async () => {
  afterAll(() => closeDefaultRuntime())
  const inputs = SIZES['a few rows']
  const expected = fingerprint((await attention(inputs)).output.data)
  await closeDefaultRuntime()
  const value = changing(inputs.value)
  const options = { causal: false }
  const running = attention({ ...inputs, value }, options)
  value.data = new Float32Array(128)
  options.causal = true
  expect(fingerprint((await running).output.data)).toBe(expected)
})

describe('only own properties count', () => {
  const runtime = useRuntime({ workers: 0 })
  const inputs = SIZES['a few rows']
  const polluted = Object.prototype as Record<string, unknown>
  afterEach(() => ['causal', 'bias', 'workers', 'scale'].forEach((name) => delete polluted[name]))

  test('of the options of a call, whatever Object.prototype holds', async () => {
    const layer = new MultiHeadAttention({ modelDim: 16, heads: 2, seed: 1 })
    const run = async () => {
      const attended = await runtime().attention(inputs, Object.create({ softcap: 1 }) as AttentionOptions)
      const { output } = await layer.forward(inputs.query, { runtime: runtime() })
      return [attended.output.data, output.data].map(fingerprint)
    }
    const expected = await run()
    Object.assign(polluted, { causal: true, scale: 3 })
    expect(await run()).toEqual(expected)
  })

  test('of the options of a layer and of a runtime', async () => {
    Object.assign(polluted, { bias: false, workers: 0 })
    expect([...new Linear(2, 2).namedParameters().keys()]).toEqual(['weight', 'bias'])
    const made = await createRuntime({ backend: { wasm: 2 } })
    expect(made.lanes).toHaveLength(2)
    await made.close()
  })
})

describe('odd values are typed errors', () => {
  const runtime = useRuntime({ workers: 0 })
  const inputs = SIZES['a few rows']
  const { data } = inputs.query
  const nothing = Object.create(null) as number

  test.each([
    ['an object without a prototype', [nothing, 16]],
    ['a symbol', [Symbol('rows') as unknown as number, 16]],
    ['holes', new Array<number>(2)],
  ])('a shape that holds %s', async (_, shape) => {
    await expect(runtime().attention({ ...inputs, query: { data, shape } })).rejects.toMatchObject({
      code: 'ShapeError',
    })
    expect(() => tensor(data, shape)).toThrow(expect.objectContaining({ code: 'ShapeError' }) as Error)
    expect(() => runtime().tensor(shape)).toThrow(expect.objectContaining({ code: 'ShapeError' }) as Error)
    expect(() => runtime().plan({ query: shape, key: [8, 16], value: [8, 16] })).toThrow(
      expect.objectContaining({ code: 'ShapeError' }) as Error,
    )
  })

  test('a tensor whose buffer was transferred away before says so', async () => {
    const query = changing(inputs.query)
    transferAway(query)
    await expect(runtime().attention({ ...inputs, query })).rejects.toThrow(
      'expected 128 elements for shape [8, 16], got 0 (a detached buffer has none)',
    )
  })

  test.each([{ softcap: 4e38 }, { scale: 1e300 }, { scale: -1e300 }])('%o, beyond float32', async (options) => {
    await expect(runtime().attention(inputs, options)).rejects.toMatchObject({ code: 'OptionError' })
    expect((await runtime().attention(inputs, { softcap: 3e38 })).output.data.every(Number.isFinite)).toBe(true)
  })

  test.each(['mask', 'bias'] as const)('an out that overlaps the %s', async (name) => {
    const buffer = new ArrayBuffer(512)
    const out = { data: new Float32Array(buffer), shape: [8, 16] }
    const matrix = {
      data: name === 'mask' ? new Uint8Array(buffer, 0, 64) : new Float32Array(buffer, 0, 64),
      shape: [8, 8],
    }
    await expect(runtime().attention(inputs, { out, [name]: matrix })).rejects.toThrow('overlaps an input')
  })

  test('a stream that someone else reads', async () => {
    const stream = new Blob([new Uint8Array(16)]).stream()
    stream.getReader()
    await expect(readSafetensors(stream)).rejects.toMatchObject({ code: 'OptionError' })
  })
})

describe('arrays of another realm', () => {
  const runtime = useRuntime({ workers: 1 })
  const foreign = <T>(name: string, array: ArrayLike<number>): T =>
    runInNewContext(`new ${name}(values)`, { values: [...Array.from(array)] }) as T

  test('are data, shapes and masks like any other', async () => {
    const inputs = SIZES['many rows']
    const mask = Uint8Array.from({ length: 360_000 }, (_, at) => (at % 7 === 0 ? 0 : 1))
    const expected = fingerprint(
      (await runtime().attention(inputs, { mask: { data: mask, shape: [600, 600] } })).output.data,
    )
    const query = {
      data: foreign<Float32Array>('Float32Array', inputs.query.data),
      shape: runInNewContext('[600, 16]') as number[],
    }
    const { output } = await runtime().attention(
      { ...inputs, query },
      { mask: { data: foreign<Uint8Array>('Uint8Array', mask), shape: [600, 600] } },
    )
    expect(fingerprint(output.data)).toBe(expected)
  })

  test('also in layers and in a batch', async () => {
    const layer = new Linear(16, 16, { seed: 1 })
    const input = normalTensor(random, [40, 16])
    const targets = { data: Int32Array.from({ length: 40 }, (_, at) => at % 16), shape: [40] }
    const own = await lossAndGradients(layer, { input, targets }, { loss: crossEntropy(), runtime: runtime() })
    const batch = {
      input: { data: foreign<Float32Array>('Float32Array', input.data), shape: [40, 16] },
      targets: { data: foreign<Int32Array>('Int32Array', targets.data), shape: [40] },
    }
    const { loss } = await lossAndGradients(layer, batch, { loss: crossEntropy(), runtime: runtime() })
    expect(loss).toBe(own.loss)
  })
})
