import { HeddleError, OptionError, ShapeError, tensor, type AttentionInputs, type AttentionOptions } from 'heddle'
import { describe, expect, test } from 'vitest'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { fingerprint, normalTensor } from '../support/tensors.ts'

const runtime = useRuntime({ workers: 1 })
const random = new Random(201)
const [B, H, M, N, D] = [2, 4, 6, 7, 8]
const good = {
  query: normalTensor(random, [B, H, M, D]),
  key: normalTensor(random, [B, H, N, D]),
  value: normalTensor(random, [B, H, N, D]),
}
const packed = normalTensor(random, [2, 6, 24])
const f32 = (...shape: number[]) => ({ data: new Float32Array(shape.reduce((a, b) => a * b, 1)), shape })

/** Options that stand at the start of `out`'s memory. */
function overlapping(options: (buffer: ArrayBuffer) => object): Record<string, unknown> {
  const buffer = new ArrayBuffer(B * H * M * D * 4)
  return { ...options(buffer), out: { data: new Float32Array(buffer), shape: [B, H, M, D] } }
}

type Row = readonly [what: string, call: { readonly [name: string]: unknown }, code: 'ShapeError' | 'OptionError']

const badInputs: readonly Row[] = [
  ['a missing key', { key: undefined }, 'OptionError'],
  ['null for a value', { value: null }, 'OptionError'],
  ['an array for a query', { query: [[1, 2]] }, 'OptionError'],
  ['Float64Array data', { query: { data: new Float64Array(B * H * M * D), shape: [B, H, M, D] } }, 'OptionError'],
  ['Int32Array data', { key: { data: new Int32Array(B * H * N * D), shape: [B, H, N, D] } }, 'OptionError'],
  ['data shorter than the shape', { query: { data: new Float32Array(5), shape: [B, H, M, D] } }, 'ShapeError'],
  ['data longer than the shape', { value: { data: new Float32Array(9999), shape: [B, H, N, D] } }, 'ShapeError'],
  ['no shape', { query: { data: new Float32Array(4) } }, 'ShapeError'],
  ['rank 1', { query: f32(8), key: f32(8), value: f32(8) }, 'ShapeError'],
  ['rank 5', { query: f32(1, 1, 1, 1, 8), key: f32(1, 1, 1, 1, 8), value: f32(1, 1, 1, 1, 8) }, 'ShapeError'],
  ['ranks that differ', { key: f32(H, N, D) }, 'ShapeError'],
  ['another batch', { key: f32(3, H, N, D) }, 'ShapeError'],
  ['another head size', { key: f32(B, H, N, 5) }, 'ShapeError'],
  ['another number of value rows', { value: f32(B, H, N + 1, D) }, 'ShapeError'],
  ['another number of value heads', { value: f32(B, 2, N, D) }, 'ShapeError'],
  ['key heads that do not divide query heads', { key: f32(B, 3, N, D), value: f32(B, 3, N, D) }, 'ShapeError'],
  ['more key heads than query heads', { key: f32(B, 8, N, D), value: f32(B, 8, N, D) }, 'ShapeError'],
  ['key heads 0', { key: f32(B, 0, N, D), value: f32(B, 0, N, D) }, 'ShapeError'],
  ['head size 0', { query: f32(B, H, M, 0), key: f32(B, H, N, 0) }, 'ShapeError'],
  ['value head size 0', { value: f32(B, H, N, 0) }, 'ShapeError'],
  ['a size of −1', { query: { data: new Float32Array(0), shape: [B, H, -1, D] } }, 'ShapeError'],
  ['a size of 1.5', { query: { data: new Float32Array(0), shape: [B, H, 1.5, D] } }, 'ShapeError'],
  ['a size of NaN', { query: { data: new Float32Array(0), shape: [B, H, NaN, D] } }, 'ShapeError'],
  ['a size as text', { query: { data: new Float32Array(0), shape: [B, H, '6', D] } }, 'ShapeError'],
]

const badOptions: readonly Row[] = [
  ['an unknown name', { casual: true }, 'OptionError'],
  ['an unknown name that is undefined', { foo: undefined }, 'OptionError'],
  ['an unknown name in window', { window: { behind: 3 } }, 'OptionError'],
  ['an unknown name in dropout', { dropout: { probability: 0.1, seed: 1, sed: 2 } }, 'OptionError'],
  ['an unknown name in returnWeights', { returnWeights: { head: [0] } }, 'OptionError'],
  ['causal: 1', { causal: 1 }, 'OptionError'],
  ['scale: NaN', { scale: NaN }, 'OptionError'],
  ['scale: ∞', { scale: Infinity }, 'OptionError'],
  ['scale: null', { scale: null }, 'OptionError'],
  ['softcap below 0', { softcap: -1 }, 'OptionError'],
  ['softcap: NaN', { softcap: NaN }, 'OptionError'],
  ['queryOffset: 1.5', { queryOffset: 1.5 }, 'OptionError'],
  ['queryOffset: NaN', { queryOffset: NaN }, 'OptionError'],
  ['queryOffset beyond ±2^28', { queryOffset: 2 ** 28 + 1 }, 'OptionError'],
  ['queryOffset of a batch beyond ±2^28', { queryOffset: Int32Array.of(0, -(2 ** 30)) }, 'OptionError'],
  ['queryOffset of another length', { queryOffset: Int32Array.of(1, 2, 3) }, 'ShapeError'],
  ['queryOffset as a Float32Array', { queryOffset: Float32Array.of(1, 2) }, 'OptionError'],
  ['window.before: −∞', { window: { before: -Infinity } }, 'OptionError'],
  ['window.after: 0.5', { window: { after: 0.5 } }, 'OptionError'],
  ['window.after: NaN', { window: { after: NaN } }, 'OptionError'],
  ['window: 4', { window: 4 }, 'OptionError'],
  ['mode: "fast"', { mode: 'fast' }, 'OptionError'],
  ['chunkSize: 0', { chunkSize: 0 }, 'OptionError'],
  ['chunkSize: −4', { chunkSize: -4 }, 'OptionError'],
  ['chunkSize: 2.5', { chunkSize: 2.5 }, 'OptionError'],
  ['chunkSize: ∞', { chunkSize: Infinity }, 'OptionError'],
  ['returnWeights: true in chunked mode', { returnWeights: true, mode: 'chunked' }, 'OptionError'],
  ['returnWeights: "all"', { returnWeights: 'all' }, 'OptionError'],
  ['returnWeights.rows past the end', { returnWeights: { rows: [M] } }, 'OptionError'],
  ['returnWeights.heads of −1', { returnWeights: { heads: [-1] } }, 'OptionError'],
  ['returnWeights.rows of 0.5', { returnWeights: { rows: [0.5] } }, 'OptionError'],
  ['returnLogSumExp: "yes"', { returnLogSumExp: 'yes' }, 'OptionError'],
  ['returnStatistics: 0', { returnStatistics: 0 }, 'OptionError'],
  ['dropout without a seed', { dropout: { probability: 0.5 } }, 'OptionError'],
  ['dropout of probability 1.5', { dropout: { probability: 1.5, seed: 1 } }, 'OptionError'],
  ['dropout of probability −0.1', { dropout: { probability: -0.1, seed: 1 } }, 'OptionError'],
  ['dropout of probability NaN', { dropout: { probability: NaN, seed: 1 } }, 'OptionError'],
  ['dropout with seed 0.5', { dropout: { probability: 0.5, seed: 0.5 } }, 'OptionError'],
  ['dropout with seed 2^64', { dropout: { probability: 0.5, seed: 1n << 64n } }, 'OptionError'],
  ['dropout: 0.5', { dropout: 0.5 }, 'OptionError'],
  ['a mask that does not broadcast', { mask: { data: new Uint8Array(5), shape: [5] } }, 'ShapeError'],
  ['a mask of rank 5', { mask: { data: new Uint8Array(N), shape: [1, 1, 1, 1, N] } }, 'ShapeError'],
  ['a mask aligned at the left', { mask: { data: new Uint8Array(B), shape: [B, 1] } }, 'ShapeError'],
  ['a mask of floats', { mask: f32(M, N) }, 'OptionError'],
  ['a mask of booleans', { mask: { data: Array(N).fill(true), shape: [N] } }, 'OptionError'],
  ['a mask whose data is too short', { mask: { data: new Uint8Array(3), shape: [M, N] } }, 'ShapeError'],
  ['a bias that does not broadcast', { bias: f32(N, M) }, 'ShapeError'],
  ['a bias of integers', { bias: { data: new Int32Array(N), shape: [N] } }, 'OptionError'],
  ['alibiSlopes of another length', { alibiSlopes: new Float32Array(3) }, 'ShapeError'],
  ['alibiSlopes as a list', { alibiSlopes: [1, 2, 3, 4] }, 'OptionError'],
  ['alibiSlopes with NaN', { alibiSlopes: Float32Array.of(1, NaN, 2, 3) }, 'OptionError'],
  ['keyLengths of another length', { keyLengths: Int32Array.of(1) }, 'ShapeError'],
  ['keyLengths past N', { keyLengths: Int32Array.of(1, N + 1) }, 'OptionError'],
  ['keyLengths below 0', { keyLengths: Int32Array.of(-1, 3) }, 'OptionError'],
  ['keyLengths as a list', { keyLengths: [1, 2] }, 'OptionError'],
  ['segments without key', { segments: { query: { data: new Int32Array(B * M), shape: [B, M] } } }, 'OptionError'],
  [
    'segments of another shape',
    {
      segments: {
        query: { data: new Int32Array(B * M), shape: [B, M] },
        key: { data: new Int32Array(M), shape: [1, M] },
      },
    },
    'ShapeError',
  ],
  ['heads for a tensor of rank 4', { heads: 4 }, 'OptionError'],
  ['keyValueHeads alone', { keyValueHeads: 2 }, 'OptionError'],
  ['out of another shape', { out: f32(B, H, D, M) }, 'ShapeError'],
  ['out of another type', { out: { data: new Float64Array(B * H * M * D), shape: [B, H, M, D] } }, 'OptionError'],
  ['out that is the query', { out: good.query }, 'OptionError'],
  [
    'out that overlaps a value',
    { out: { data: new Float32Array(good.value.data.buffer, 4 * D, B * H * M * D), shape: [B, H, M, D] } },
    'OptionError',
  ],
  [
    'out that overlaps the slopes',
    overlapping((buffer) => ({ alibiSlopes: new Float32Array(buffer, 0, H) })),
    'OptionError',
  ],
  [
    'out that overlaps the key lengths',
    overlapping((buffer) => ({ keyLengths: new Int32Array(buffer, 0, B) })),
    'OptionError',
  ],
  [
    'out that overlaps the offsets',
    overlapping((buffer) => ({ queryOffset: new Int32Array(buffer, 0, B) })),
    'OptionError',
  ],
  [
    'out that overlaps segments',
    overlapping((buffer) => ({
      segments: {
        query: { data: new Int32Array(buffer, 0, B * M), shape: [B, M] },
        key: { data: new Int32Array(B * N), shape: [B, N] },
      },
    })),
    'OptionError',
  ],
  ['a signal that is none', { signal: { aborted: false } }, 'OptionError'],
  ['onProgress: true', { onProgress: true }, 'OptionError'],
  ['onChunk: "log"', { onChunk: 'log' }, 'OptionError'],
  ['onTask: 5', { onTask: 5 }, 'OptionError'],
]

const badHeads: readonly Row[] = [
  ['heads that do not divide E', { heads: 5 }, 'ShapeError'],
  ['heads: 0', { heads: 0 }, 'OptionError'],
  ['heads: 1.5', { heads: 1.5 }, 'OptionError'],
  ['heads: −2', { heads: -2 }, 'OptionError'],
  [
    'keyValueHeads that do not divide heads',
    { heads: 6, keyValueHeads: 4, query: f32(2, 6, 24), key: f32(2, 6, 16), value: f32(2, 6, 16) },
    'ShapeError',
  ],
  ['keyValueHeads: 0', { heads: 6, keyValueHeads: 0 }, 'OptionError'],
]

const made = { SharedArrayBuffer, ArrayBuffer }

/** The failure, and the bytes of the buffers that were made until then. */
async function failureOf(call: () => Promise<unknown>): Promise<[error: unknown, bytes: number]> {
  let bytes = 0
  for (const name of ['SharedArrayBuffer', 'ArrayBuffer'] as const) {
    const construct = (Class: new (size: number) => object, [size]: [number]): object => {
      bytes += size
      return new Class(size)
    }
    Object.assign(globalThis, { [name]: new Proxy(made[name], { construct }) })
  }
  const error = await call()
    .then(
      () => 'no error',
      (reason: unknown) => reason,
    )
    .finally(() => Object.assign(globalThis, made))
  return [error, bytes]
}

async function expectTypedError(base: AttentionInputs, call: Row[1], code: Row[2]): Promise<void> {
  const { query, key, value, ...options } = { ...base, ...call } as AttentionInputs & AttentionOptions
  const [error, bytes] = await failureOf(() => runtime().attention({ query, key, value }, options))
  expect(bytes, 'bytes made before the call was refused').toBe(0)
  expect(error).toBeInstanceOf(HeddleError)
  expect(error).toBeInstanceOf(code === 'ShapeError' ? ShapeError : OptionError)
  expect(error).toMatchObject({ code, name: code })
  expect((error as Error).message).toMatch(/^(attention|tensor|option).*expected .*, got .+/s)
}

describe.each([
  { table: 'inputs', rows: badInputs, base: good },
  { table: 'options', rows: badOptions, base: good },
  { table: 'heads', rows: badHeads, base: { query: packed, key: packed, value: packed } },
])('bad $table', ({ rows, base }) => {
  test.each(rows)('%s', async (_, call, code) => {
    await expectTypedError(base, call, code)
  })
})

test('the message of the design: what was expected, and what came', async () => {
  const call = { query: f32(2, 8, 128, 64), key: f32(2, 8, 128, 32), value: f32(2, 8, 128, 32) }
  await expect(runtime().attention(call)).rejects.toThrow(
    "attention: expected key [2, 8, N, 64] to match query's head size 64, got [2, 8, 128, 32]",
  )
})

test('with heads, a mask or bias that could be one per batch as well as one per head is refused with both spellings', async () => {
  const [query, mask] = [f32(2, 5, 6), { data: new Uint8Array(50).fill(1), shape: [2, 5, 5] }]
  const inputs = { query, key: query, value: query }
  const message =
    'to broadcast to [2, 2, 5, 5]: [2, 1, 5, 5] for one per batch or [1, 2, 5, 5] for one per head, got [2, 5, 5]'
  await expect(runtime().attention(inputs, { heads: 2, mask })).rejects.toThrow(
    new ShapeError(`attention: expected mask ${message}`),
  )
  await expect(runtime().attention(inputs, { heads: 2, bias: f32(2, 5, 5) })).rejects.toThrow(
    `attention: expected bias ${message}`,
  )
  // Three heads leave no doubt: per head it is broadcast, per batch it does not fit, which says how to write it.
  await expect(runtime().attention(inputs, { heads: 3, bias: f32(3, 5, 5) })).resolves.toBeDefined()
  await expect(runtime().attention(inputs, { heads: 3, mask })).rejects.toThrow(
    '[2, 1, 5, 5] for one per batch or [1, 3, 5, 5] for one per head, got [2, 5, 5]',
  )
  for (const shape of [
    [2, 1, 5, 5],
    [1, 2, 5, 5],
    [1, 5, 5],
  ]) {
    await expect(runtime().attention(inputs, { heads: 2, bias: f32(...shape) })).resolves.toBeDefined()
  }
})

test('a typo is answered with the name that was meant', async () => {
  await expect(runtime().attention(good, { casual: true } as never)).rejects.toThrow(/"casual".*causal/)
})

test.each([undefined, null, 5, 'inputs'])('%s for the inputs, and for the options, is a typed error', async (wrong) => {
  await expect(runtime().attention(wrong as never)).rejects.toBeInstanceOf(HeddleError)
  if (wrong !== undefined) await expect(runtime().attention(good, wrong as never)).rejects.toBeInstanceOf(HeddleError)
})

test('an unknown name among the inputs is a typed error', async () => {
  await expect(runtime().attention({ ...good, mask: f32(M, N) } as never)).rejects.toMatchObject({
    code: 'OptionError',
  })
})

describe('hostile sizes', () => {
  const sizes = [NaN, -1, 1.5, 2 ** 31, 2 ** 32, 2 ** 53, 2 ** 53 - 1, Infinity, -Infinity, 1e300]
  test.each(sizes)('%f', async (size) => {
    const data = new Float32Array(0)
    for (const shape of [
      [B, H, size, D],
      [size, H, M, D],
      [B, size, M, D],
      [B, H, M, size],
    ]) {
      await expectTypedError(
        good,
        { query: { data, shape }, key: { data, shape }, value: { data, shape } },
        'ShapeError',
      )
      expect(() => tensor(data, shape)).toThrow(ShapeError)
      expect(() => runtime().tensor(shape)).toThrow(HeddleError)
      expect(() => runtime().plan({ query: shape, key: shape, value: shape })).toThrow(HeddleError)
    }
  })

  test('products that wrap to 0 in 32 bits', async () => {
    const shape = [65536, 65536]
    await expectTypedError(
      {
        query: { data: new Float32Array(0), shape },
        key: { data: new Float32Array(0), shape },
        value: { data: new Float32Array(0), shape },
      },
      {},
      'ShapeError',
    )
  })

  test('a product past 2^53 beside a size of 0 has no elements, and passes', async () => {
    const shape = [2 ** 40, 0, 2 ** 40, 4]
    const none = { data: new Float32Array(0), shape }
    const { output } = await runtime().attention({ query: none, key: none, value: none })
    expect(output).toEqual({ data: new Float32Array(0), shape })
  })
})

test('a tensor is refused for what it holds', () => {
  expect(() => tensor([1, 2] as never, [2])).toThrow(OptionError)
  expect(() => tensor(new Float64Array(2) as never, [2])).toThrow(OptionError)
  expect(() => tensor(new Float32Array(2), [3])).toThrow('tensor: expected 3 elements for shape [3], got 2')
  expect(() => tensor(new Float32Array(2), '2' as never)).toThrow(ShapeError)
})

test('data of another type is named', async () => {
  const wrong = { data: new Float64Array(4), shape: [1, 4] } as never
  await expect(runtime().attention({ query: wrong, key: wrong, value: wrong })).rejects.toThrow(
    'attention: query: expected data as a Float32Array, got Float64Array',
  )
})

test('after all of that the runtime still computes', async () => {
  const before = await runtime().attention(good, { causal: true })
  for (const [, call, code] of [...badInputs, ...badOptions]) await expectTypedError(good, call, code)
  const after = await runtime().attention(good, { causal: true })
  expect(fingerprint(after.output.data)).toBe(fingerprint(before.output.data))
})
