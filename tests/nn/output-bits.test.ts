import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import type { NormEvent, TraceEvent } from 'heddle/nn'
import { afterAll, describe, expect, test } from 'vitest'
import { useRuntime } from '../support/runtimes.ts'
import { attentionCases } from './bits/attention-cases.ts'
import type { LayerCase, Results, Setting } from './bits/layer-case.ts'
import { stackCases } from './bits/model-cases.ts'
import { rowCases } from './bits/row-cases.ts'
import { traceCases } from './bits/trace-cases.ts'

/**
 * The bits of every layer with every option, as a table that is part of the contract: users compare hashes of results
 * across versions, and checkpoints, seeds and cached embeddings rely on them. A redesign must not change the table. A
 * line may change only together with the mend of a fault that made its result wrong, and the commit says which one it
 * was.
 *
 *     HEDDLE_UPDATE_BITS=1 npx vitest run tests/nn/output-bits    writes it anew
 *
 * `numerics: 'portable'` makes the bits those of every machine.
 */
const FILE = new URL('../fixtures/layer-bits.json', import.meta.url)
const updating = process.env['HEDDLE_UPDATE_BITS'] === '1'
type Hashes = Readonly<Record<string, string>>
interface Table {
  readonly bits: Record<string, Hashes>
  readonly traces: Record<string, { readonly trace: readonly string[]; readonly norms: readonly string[] }>
}
const table: Table = updating ? { bits: {}, traces: {} } : (JSON.parse(readFileSync(FILE, 'utf8')) as Table)

const cases: readonly LayerCase[] = [...rowCases, ...attentionCases, ...stackCases]
const [none, two, alone, transfer] = [
  useRuntime({ workers: 0, numerics: 'portable' }),
  useRuntime({ workers: 2, numerics: 'portable' }),
  useRuntime({ workers: 1, numerics: 'portable', sharedMemory: 'never' }),
  useRuntime({ workers: 2, numerics: 'portable', sharedMemory: 'never' }),
]

/** Without a chunk size, work as small as these cases stays on the calling thread; with one it goes to the workers. */
const settings: Readonly<Record<string, () => Setting>> = {
  'calling thread': () => ({ runtime: none(), sharedInputs: false }),
  'calling thread, chunks of 7': () => ({ runtime: none(), chunkSize: 7, sharedInputs: true }),
  '2 workers': () => ({ runtime: two(), sharedInputs: false }),
  '2 workers, chunks of 7': () => ({ runtime: two(), chunkSize: 7, sharedInputs: true }),
  '2 workers, chunks of 64': () => ({ runtime: two(), chunkSize: 64, sharedInputs: false }),
  '1 worker without shared memory, chunks of 64': () => ({ runtime: alone(), chunkSize: 64, sharedInputs: false }),
  '2 workers without shared memory, chunks of 7': () => ({ runtime: transfer(), chunkSize: 7, sharedInputs: true }),
}

function hashesOf(results: Results): Hashes {
  return Object.fromEntries(
    Object.entries(results).map(([name, { buffer, byteOffset, byteLength }]) => {
      return [
        name,
        createHash('sha256')
          .update(new Uint8Array(buffer, byteOffset, byteLength))
          .digest('hex')
          .slice(0, 16),
      ]
    }),
  )
}

afterAll(() => {
  if (!updating) return
  const lines = (entries: object): string =>
    Object.entries(entries)
      .map(([name, value]) => `    ${JSON.stringify(name)}: ${JSON.stringify(value)}`)
      .join(',\n')
  writeFileSync(FILE, `{\n  "bits": {\n${lines(table.bits)}\n  },\n  "traces": {\n${lines(table.traces)}\n  }\n}\n`)
})

describe('the bits of the table', () => {
  test.each(cases)('$name', async (layerCase) => {
    if (updating) table.bits[layerCase.name] = hashesOf(await layerCase.run({ runtime: none(), sharedInputs: false }))
    for (const [name, setting] of Object.entries(settings)) {
      expect(hashesOf(await layerCase.run(setting())), name).toEqual(table.bits[layerCase.name])
    }
  })
})

describe('what a forward pass tells of its tensors', () => {
  test.each(traceCases)('$name', async (traceCase) => {
    for (const runtime of [none(), two()]) {
      const trace: string[] = []
      const norms: string[] = []
      await traceCase.run({
        runtime,
        trace: ({ layer, step, shape }: TraceEvent) => trace.push(`${layer}: ${step} ${shape.join('×')}`),
        monitorNorms: ({ layer }: NormEvent) => norms.push(layer),
      })
      if (updating) table.traces[traceCase.name] = { trace, norms }
      expect({ trace, norms }).toEqual(table.traces[traceCase.name])
    }
  })
})

test('the table has exactly these cases, each under a name of its own', () => {
  expect(Object.keys(table.bits).toSorted()).toEqual(cases.map(({ name }) => name).toSorted())
  expect(Object.keys(table.traces).toSorted()).toEqual(traceCases.map(({ name }) => name).toSorted())
})
