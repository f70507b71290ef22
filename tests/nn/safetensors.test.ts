import { describe, expect, it } from 'vitest'
import { FormatError, OptionError } from '../../src/core/errors.ts'
import { readSafetensors, readStateDict, writeSafetensors } from '../../src/nn/state/safetensors.ts'
import { Random } from '../support/random.ts'

/** `npm run torture` tries 100,000. */
const MUTATIONS = process.env['HEDDLE_HEAVY'] === '1' ? 100_000 : 10_000

/** A file out of a header object and bytes, without any check. */
function fileOf(header: unknown, bytes = new Uint8Array(0)): Uint8Array {
  const json = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header))
  const file = new Uint8Array(8 + json.length + bytes.length)
  new DataView(file.buffer).setBigUint64(0, BigInt(json.length), true)
  file.set(json, 8)
  file.set(bytes, 8 + json.length)
  return file
}

const sample = {
  'layers.0.weight': { data: Float32Array.of(1, -2.5, 3e-30, Infinity, NaN, -0), shape: [2, 3] },
  ids: { data: Int32Array.of(-1, 2 ** 31 - 1), shape: [2] },
  mask: { data: Uint8Array.of(0, 1, 255), shape: [3, 1] },
  empty: { data: new Float32Array(0), shape: [0, 7] },
}

describe('safetensors', () => {
  it('gives back what was written', async () => {
    const { tensors, metadata } = await readSafetensors(writeSafetensors(sample, { format: 'pt' }))
    expect(tensors).toEqual(sample)
    expect(Object.is((tensors['layers.0.weight']?.data as Float32Array)[5], -0)).toBe(true)
    expect(metadata).toEqual({ format: 'pt' })
  })

  it('aligns the tensors to eight bytes', () => {
    const file = writeSafetensors(sample)
    expect(Number(new DataView(file.buffer).getBigUint64(0, true)) % 8).toBe(0)
  })

  it('reads a stream cut at every place', async () => {
    const file = writeSafetensors(sample)
    for (let cut = 1; cut < file.length; cut++) {
      const stream = new ReadableStream<Uint8Array>({
        start(controller) {
          controller.enqueue(file.slice(0, cut))
          controller.enqueue(new Uint8Array(0))
          controller.enqueue(file.slice(cut))
          controller.close()
        },
      })
      expect((await readSafetensors(stream)).tensors).toEqual(sample)
    }
  })

  it('reads Blobs and async iterables', async () => {
    const file = writeSafetensors(sample)
    expect((await readSafetensors(new Blob([file as Uint8Array<ArrayBuffer>]))).tensors).toEqual(sample)
    async function* bytewise() {
      for (const byte of file) yield await Promise.resolve(Uint8Array.of(byte))
    }
    expect((await readSafetensors(bytewise())).tensors).toEqual(sample)
  })

  it('turns F16, BF16 and F64 into float32, I64 into int32', async () => {
    const bytes = new Uint8Array(8 + 6 + 6 + 16)
    const view = new DataView(bytes.buffer)
    view.setFloat64(0, 0.1, true)
    ;[0x3c00, 0x0001, 0xfbff].forEach((half, index) => view.setUint16(8 + 2 * index, half, true))
    ;[0x3f80, 0xc049, 0x7f80].forEach((half, index) => view.setUint16(14 + 2 * index, half, true))
    view.setBigInt64(20, -5n, true)
    view.setBigInt64(28, 2n ** 31n - 1n, true)
    const { tensors } = await readSafetensors(
      fileOf(
        {
          double: { dtype: 'F64', shape: [1], data_offsets: [0, 8] },
          half: { dtype: 'F16', shape: [3], data_offsets: [8, 14] },
          brain: { dtype: 'BF16', shape: [3], data_offsets: [14, 20] },
          long: { dtype: 'I64', shape: [2], data_offsets: [20, 36] },
        },
        bytes,
      ),
    )
    expect(tensors['double']?.data).toEqual(Float32Array.of(0.1))
    expect(tensors['half']?.data).toEqual(Float32Array.of(1, 2 ** -24, -65504))
    expect(tensors['brain']?.data).toEqual(Float32Array.of(1, -3.140625, Infinity))
    expect(tensors['long']?.data).toEqual(Int32Array.of(-5, 2 ** 31 - 1))
  })

  it('keeps integers in a state dict, for the module to skip', async () => {
    expect(await readStateDict(writeSafetensors(sample))).toEqual(sample)
  })

  it('refuses what it cannot write', () => {
    expect(() => writeSafetensors({ a: { data: new Float32Array(3), shape: [2] } })).toThrow(OptionError)
    expect(() => writeSafetensors({ __metadata__: { data: new Float32Array(1), shape: [1] } })).toThrow(OptionError)
  })

  it('refuses what is no source', async () => {
    await expect(readSafetensors('file' as never)).rejects.toThrow(OptionError)
  })
})

describe('hostile safetensors files', () => {
  const f32 = (start: number, end: number, shape: unknown = [(end - start) / 4]) => ({
    dtype: 'F32',
    shape,
    data_offsets: [start, end],
  })
  const huge = new Uint8Array(16)
  new DataView(huge.buffer).setBigUint64(0, 2n ** 63n, true)
  const overLimit = new Uint8Array(16)
  new DataView(overLimit.buffer).setBigUint64(0, 100_000_001n, true)
  const cases: [string, Uint8Array][] = [
    ['empty', new Uint8Array(0)],
    ['shorter than the length field', new Uint8Array(7)],
    ['a header length of 2^63', huge],
    ['a header past 100 MB', overLimit],
    ['a header that is longer than the file', fileOf('{}').subarray(0, 9)],
    ['an empty header', fileOf('')],
    ['a header that does not start with {', fileOf(' {}')],
    ['a header that is no JSON', fileOf('{"a":')],
    ['a header that is no UTF-8', fileOf('{}').map((byte, index) => (index === 9 ? 0xff : byte))],
    ['an array for a header', fileOf('[]')],
    ['metadata that are no strings', fileOf({ __metadata__: { a: 1 } })],
    ['an entry that is null', fileOf({ a: null })],
    ['an unknown type', fileOf({ a: { dtype: 'Q4', shape: [1], data_offsets: [0, 4] } }, new Uint8Array(4))],
    [
      'a type from the prototype',
      fileOf({ a: { dtype: 'toString', shape: [1], data_offsets: [0, 4] } }, new Uint8Array(4)),
    ],
    ['a negative size', fileOf({ a: f32(0, 4, [-1]) }, new Uint8Array(4))],
    ['a broken size', fileOf({ a: f32(0, 4, [0.5, 2]) }, new Uint8Array(4))],
    ['a product past 2^53', fileOf({ a: f32(0, 4, [2 ** 30, 2 ** 30]) }, new Uint8Array(4))],
    ['a product that wraps to the right size in 32 bits', fileOf({ a: f32(0, 0, [65536, 65536]) })],
    ['a shape that is not the range', fileOf({ a: f32(0, 8, [1]) }, new Uint8Array(8))],
    ['a range that runs backwards', fileOf({ a: f32(4, 0, [1]) }, new Uint8Array(8))],
    ['a range past the end', fileOf({ a: f32(0, 8) }, new Uint8Array(4))],
    ['a claim of four terabytes', fileOf({ a: f32(0, 2 ** 42) }, new Uint8Array(4))],
    ['a claim of four terabytes of another tensor', fileOf({ a: f32(0, 4), b: f32(4, 2 ** 42) }, new Uint8Array(8))],
    ['bytes after the last tensor', fileOf({ a: f32(0, 4) }, new Uint8Array(5))],
    [
      'an I64 past int32',
      fileOf({ a: { dtype: 'I64', shape: [1], data_offsets: [0, 8] } }, new Uint8Array(8).fill(0x7f)),
    ],
  ]
  it.each(cases)('%s is a FormatError', async (_name, file) => {
    await expect(readSafetensors(file)).rejects.toThrow(FormatError)
  })

  // As many bytes as the tensors have together, so that only the offsets are wrong: reading one after the other would
  // work.
  it.each([
    ['a gap before the first tensor', { a: f32(4, 8) }, 4, 'a should start at byte 0, got 4'],
    ['a gap between tensors', { a: f32(0, 4), b: f32(8, 12) }, 8, 'b should start at byte 4, got 8'],
    [
      'a gap between tensors that are not in order',
      { b: f32(12, 16), a: f32(0, 8) },
      12,
      'b should start at byte 8, got 12',
    ],
    ['a gap before an empty tensor', { a: f32(0, 4), b: f32(8, 8) }, 4, 'b should start at byte 4, got 8'],
    ['ranges that overlap', { a: f32(0, 8), b: f32(4, 12) }, 16, 'b should start at byte 8, got 4'],
    ['the same range twice', { a: f32(0, 4), b: f32(0, 4) }, 8, 'b should start at byte 4, got 0'],
  ] as const)('%s is refused with its place', async (_name, header, bytes, message) => {
    const reading = readSafetensors(fileOf(header, new Uint8Array(bytes)))
    await expect(reading).rejects.toThrow(FormatError)
    await expect(reading).rejects.toThrow(`expected tensors without gap or overlap; ${message}`)
  })

  const entry = '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
  it.each([
    ['a tensor', `{"a":${entry},"a":${entry}}`, 'a'],
    ['a tensor, once with an escape', `{"a":${entry}, "\\u0061" :${entry}}`, 'a'],
    ['metadata', `{"__metadata__":{"by":"\\"by\\":","by":"2"},"a":${entry}}`, 'by'],
    ['a part of an entry', `{"a":{"dtype":"I32",${entry.slice(1)}}`, 'dtype'],
  ])('%s that is there twice is refused: JSON takes the last one', async (_name, header, twice) => {
    await expect(readSafetensors(fileOf(header, new Uint8Array(4)))).rejects.toThrow(
      `expected each name once, got "${twice}" twice`,
    )
  })

  it('the same name in different objects is nothing twice', async () => {
    const header = `{"__metadata__":{"a":"{\\"a\\":1}"},"a":${entry},"b":{"dtype":"F32","shape":[0],"data_offsets":[4,4]}}`
    expect((await readSafetensors(fileOf(header, new Uint8Array(4)))).metadata).toEqual({ a: '{"a":1}' })
  })

  it("tensors in another order than the header's are read where they stand", async () => {
    const bytes = new Uint8Array(Float32Array.of(1, 2, 3).buffer)
    const { tensors } = await readSafetensors(fileOf({ b: f32(8, 12), a: f32(0, 8) }, bytes))
    expect(tensors).toEqual({
      a: { data: Float32Array.of(1, 2), shape: [2] },
      b: { data: Float32Array.of(3), shape: [1] },
    })
  })

  it(`survives ${MUTATIONS} mutations with a FormatError or a well-formed answer`, async () => {
    const random = new Random(20240601)
    const file = writeSafetensors(sample, { format: 'pt' })
    let refused = 0
    for (let round = 0; round < MUTATIONS; round++) {
      const mutant = mutate(file, random)
      try {
        const { tensors } = await readSafetensors(mutant)
        for (const { data, shape } of Object.values(tensors))
          expect(data.length).toBe(shape.reduce((product, size) => product * size, 1))
      } catch (error) {
        expect(error, `round ${round}`).toBeInstanceOf(FormatError)
        refused++
      }
    }
    expect(refused).toBeGreaterThan(0)
  })
})

/** Changes, inserts, removes or cuts a few bytes; most of the time within the header. */
function mutate(file: Uint8Array, random: Random): Uint8Array {
  let bytes = [...file]
  for (let change = random.integer(1, 4); change > 0; change--) {
    const place = random.integer(0, random.chance(0.2) ? bytes.length - 1 : Math.min(bytes.length - 1, 260))
    const kind = random.integer(0, 4)
    if (kind === 0) bytes[place] = random.integer(0, 255)
    else if (kind === 1) bytes.splice(place, random.integer(1, 3))
    else if (kind === 2) bytes.splice(place, 0, random.integer(0x20, 0x7e))
    else if (kind === 3)
      bytes[place] = random.pick([...'0123456789-,[]{}":e.'].map((character) => character.charCodeAt(0)))
    else if (random.chance(0.1)) bytes = bytes.slice(0, place + 1)
  }
  return Uint8Array.from(bytes)
}
