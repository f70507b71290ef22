import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { createRuntime, mergePartials, tensor } from 'heddle'
import type { FleetAttentionOptions, FleetAttentionResult } from 'heddle/fleet'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { wasmTolerance } from '../support/error-rule.ts'
import { attentionReference } from '../support/oracle.ts'
import { Random } from '../support/random.ts'
import { fingerprint, normalTensor } from '../support/tensors.ts'
import { FleetSite } from './support/fleet-site.ts'
import { hasRedis, RedisServer } from './support/redis-server.ts'

const inputs = {
  query: { file: 'qkv.safetensors', name: 'q' },
  key: { file: 'qkv.safetensors', name: 'k' },
  value: { file: 'qkv.safetensors', name: 'v' },
}
const random = new Random(901)
const tensors = {
  q: normalTensor(random, [2, 4, 150, 12]),
  k: normalTensor(random, [2, 2, 333, 12]),
  v: normalTensor(random, [2, 2, 333, 8]),
}
const cut = { queryRows: 64, keyRows: 100 }

const cases: readonly {
  readonly name: string
  readonly options: FleetAttentionOptions & { readonly keyLengths?: Int32Array }
}[] = [
  { name: 'no options', options: {} },
  { name: 'causal with an offset', options: { causal: true, queryOffset: 333 - 150 } },
  { name: 'rows that see no key', options: { causal: true, queryOffset: -70 } },
  { name: 'a window', options: { window: { before: 40, after: 9 }, queryOffset: 100 } },
  {
    name: 'key lengths, which end within the second and the fourth range',
    options: { keyLengths: Int32Array.of(150, 301) },
  },
  {
    name: 'key lengths of zero, and causal',
    options: { keyLengths: Int32Array.of(0, 120), causal: true, queryOffset: 200 },
  },
  {
    name: 'slopes, softcap and scale',
    options: { alibiSlopes: Float32Array.of(0.1, 0.2, 0.05, 0.3), softcap: 5, scale: 0.4 },
  },
]

describe.skipIf(!hasRedis)('fleet.attention', () => {
  let server: RedisServer
  let site: FleetSite

  beforeAll(async () => {
    server = await RedisServer.start()
  })
  afterAll(() => server.stop())
  beforeEach(async () => {
    site = await FleetSite.open(server)
    await site.write('qkv.safetensors', tensors)
  })
  afterEach(() => site.close())

  test.each(cases)('$name: against float64', async ({ options }) => {
    await site.host()
    const result = await (await site.fleet()).attention(inputs, { ...options, ...cut })
    const reference = attentionReference({ query: tensors.q, key: tensors.k, value: tensors.v }, options)
    const { output, logSumExp } = await result.rows(0, 150)
    expect(result.shape).toEqual([2, 4, 150, 8])
    expect(output).toMatchOracle(reference.output, wasmTolerance)
    expect(logSumExp).toMatchOracle(reference.logSumExp, wasmTolerance)
  })

  test('the bits of partials merged in key order, for one host and for three', async () => {
    const runtime = await createRuntime({ workers: 0, numerics: 'portable' })
    const rows = (source: typeof tensors.q, start: number, end: number) => {
      const [batch = 0, heads = 0, count = 0, width = 0] = source.shape
      const blocks = Array.from({ length: batch * heads }, (_, block) =>
        source.data.subarray((block * count + start) * width, (block * count + end) * width),
      )
      return tensor(Float32Array.from(blocks.flatMap((block) => [...block])), [batch, heads, end - start, width])
    }
    const partials = await Promise.all(
      [
        [0, 100],
        [100, 200],
        [200, 300],
        [300, 333],
      ].map(async ([start = 0, end = 0]) => {
        const query = rows(tensors.q, 64, 128)
        const { output, logSumExp } = await runtime.attention(
          { query, key: rows(tensors.k, start, end), value: rows(tensors.v, start, end) },
          { returnLogSumExp: true },
        )
        return { output, logSumExp: logSumExp }
      }),
    )
    await runtime.close()
    const expected = fingerprint(mergePartials(partials).output.data)
    for (const hosts of [1, 3]) {
      const other = await FleetSite.open(server)
      await other.write('qkv.safetensors', tensors)
      await Promise.all(Array.from({ length: hosts }, () => other.host()))
      const result = await (await other.fleet()).attention(inputs, cut)
      expect(fingerprint((await result.rows(64, 128)).output.data), `${hosts} hosts`).toBe(expected)
      await other.close()
    }
  })

  test('rows across chunks are those of the whole', async () => {
    await site.host()
    const result = await (await site.fleet()).attention(inputs, cut)
    const whole = (await result.rows(0, 150)).output
    const part = (await result.rows(60, 131)).output
    expect(part.shape).toEqual([2, 4, 71, 8])
    for (let block = 0; block < 8; block++) {
      const expected = whole.data.subarray((block * 150 + 60) * 8, (block * 150 + 131) * 8)
      expect([...part.data.subarray(block * 71 * 8, (block + 1) * 71 * 8)]).toEqual([...expected])
    }
    await expect(result.rows(5, 5)).rejects.toMatchObject({ code: 'OptionError' })
    await expect(result.rows(100, 151)).rejects.toMatchObject({ code: 'OptionError' })
  })

  test('a call whose result exists makes no jobs, and one that lost a file makes it again with the same bits', async () => {
    await site.host()
    const fleet = await site.fleet()
    const first = await fleet.attention(inputs, cut)
    const bits = fingerprint((await first.rows(0, 150)).output.data)
    const again = await fleet.attention(inputs, cut)
    expect(first.report.jobs).toBe(1 + 3 * (1 + 4))
    expect(again.report.jobs).toBe(0)
    await site.store.remove(first.chunks[1]!.file)
    const mended = await fleet.attention(inputs, cut)
    expect(mended.report.jobs).toBeGreaterThan(0)
    expect(fingerprint((await mended.rows(0, 150)).output.data)).toBe(bits)
  })

  test('only the merged chunks and the list of them stay in the store', async () => {
    await site.host()
    const result = await (await site.fleet()).attention(inputs, cut)
    const files = (await readdir(path.join(site.folder, 'results'), { recursive: true, withFileTypes: true }))
      .filter((entry) => entry.isFile())
      .map(({ name }) => name)
    const chunks = result.chunks.map(({ file }) => path.basename(file))
    expect(files.filter((name) => name.endsWith('.safetensors')).sort()).toEqual(chunks.sort())
    expect(files.filter((name) => name.endsWith('.json'))).toHaveLength(1)
  })

  test('half-precision files, and keys that are in another file', async () => {
    await site.host()
    const { result, reference } = await withHalfKeys(site)
    expect((await result.rows(0, 150)).output).toMatchOracle(reference.output, wasmTolerance)
  })
})

/** Keys whose float32 values are exact in bfloat16, written as such by hand: Heddle itself writes float32. */
async function withHalfKeys(
  site: FleetSite,
): Promise<{ result: FleetAttentionResult; reference: ReturnType<typeof attentionReference> }> {
  const bits = Uint16Array.from(new Uint32Array(tensors.k.data.slice().buffer), (word) => word >>> 16)
  const key = { data: new Float32Array(Uint32Array.from(bits, (half) => half << 16).buffer), shape: tensors.k.shape }
  const header = new TextEncoder().encode(
    JSON.stringify({ k: { dtype: 'BF16', shape: key.shape, data_offsets: [0, bits.byteLength] } }).padEnd(80),
  )
  const file = new Uint8Array(8 + header.length + bits.byteLength)
  file[0] = header.length
  file.set(header, 8)
  file.set(new Uint8Array(bits.buffer), 8 + header.length)
  await site.store.write('keys/half.safetensors', file)
  const fleet = await site.fleet()
  const result = await fleet.attention({ ...inputs, key: { file: 'keys/half.safetensors', name: 'k' } }, cut)
  return { result, reference: attentionReference({ query: tensors.q, key, value: tensors.v }, {}) }
}
