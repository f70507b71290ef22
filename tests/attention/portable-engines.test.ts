import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

/** What Node 20.20 and Node 26 gave: users compare hashes across machines, engines and versions. */
const BITS = 'a0ee2bec77a75a5c9d36b71662aeaf970ab51ddddbb13540cb001a1fb2bd187e'
// Another Node, of another engine version: HEDDLE_OTHER_NODE=/path/to/node.
const nodes = [process.execPath, process.env['HEDDLE_OTHER_NODE']].filter((node) => node !== undefined)

const script = `
  import { createRuntime } from 'heddle'
  import { createHash } from 'node:crypto'
  let state = 1
  const random = () => ((state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 4294967296 - 0.5) * 4
  const tensor = (...shape) => ({ data: Float32Array.from({ length: shape.reduce((a, b) => a * b) }, random), shape })
  const runtime = await createRuntime({ workers: 1, numerics: 'portable' })
  const hash = createHash('sha256')
  for (const [M, N, D] of [[70, 300, 64], [9, 33, 7], [3, 9000, 16]]) {
    const inputs = { query: tensor(2, 2, M, D), key: tensor(2, 2, N, D), value: tensor(2, 2, N, D) }
    for (const options of [
      {}, { causal: true, queryOffset: N - M }, { softcap: 2, bias: tensor(M, N) }, { alibiSlopes: Float32Array.of(0.1, 0.3) },
      { dropout: { probability: 0.4, seed: 12 } }, { scale: 3, window: { before: 40 }, queryOffset: N },
    ]) {
      const result = await runtime.attention(inputs, { ...options, returnLogSumExp: true, returnStatistics: true })
      const standard = await runtime.attention(inputs, { ...options, returnWeights: true })
      const parts = [result.output, result.logSumExp, ...Object.values(result.statistics), standard.output, standard.weights]
      for (const { data } of parts) hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    }
  }
  await runtime.close()
  console.log(hash.digest('hex'))`

test('numerics: portable gives the same bits in every process and engine', async () => {
  const runs = nodes.map((node) =>
    promisify(execFile)(node, ['--input-type=module', '--eval', script], { timeout: 60_000 }),
  )
  for (const [at, { stdout }] of (await Promise.all(runs)).entries()) expect(stdout.trim(), nodes[at]).toBe(BITS)
}, 60_000)
