import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'

const HEAVY = process.env['HEDDLE_HEAVY'] === '1'
const TOKENS = HEAVY ? 65_536 : 16_384
const MEGA = 2 ** 20

/**
 * One causal head over plain arrays in a process of its own, seen from outside: what the operating system says it
 * holds.
 */
const script = `
import { createRuntime, tensor } from 'heddle'
const n = ${TOKENS}
const make = () => tensor(Float32Array.from({ length: n * 64 }, (_, i) => Math.sin(i)), [n, 64])
const inputs = { query: make(), key: make(), value: make() }
globalThis.gc()
const before = process.memoryUsage.rss()
let peak = before
const timer = setInterval(() => { peak = Math.max(peak, process.memoryUsage.rss()) }, 5)
const runtime = await createRuntime({ workers: 2 })
const { report } = await runtime.attention(inputs, { causal: true })
peak = Math.max(peak, process.memoryUsage.rss())
clearInterval(timer)
await runtime.close()
console.log(JSON.stringify({ growth: peak - before, planned: report.plan.totalBytes, standard: report.plan.standardBytes, lanes: 2 }))
`

/**
 * One call after the other over shared memory, in a process of its own, until their outputs would fill 1.2 GB; what it
 * holds at most.
 */
const repeated = (workers: number, call: string): string => `
import { createRuntime } from 'heddle'
import { Linear } from 'heddle/nn'
const runtime = await createRuntime({ workers: ${workers} })
const x = runtime.tensor([1, 200_000, 64])
// Outputs count, not work: few keys make as large ones as many.
const keys = runtime.tensor([1, 16, 64])
const layer = new Linear(64, 64, { seed: 1 })
let peak = 0
for (let done = 0; done < 24; done++) {
  await ${call}
  peak = Math.max(peak, process.memoryUsage.rss())
}
await runtime.close()
console.log(peak)
`

const CALLS = {
  attention: 'runtime.attention({ query: x, key: keys, value: keys })',
  'a layer': 'layer.forward(x, { runtime })',
}

describe('resident memory', () => {
  it(
    `of one call over ${TOKENS} tokens grows by the plan, 16 MB a lane and 32 MB at most`,
    { timeout: 120_000 },
    async () => {
      const { stdout } = await promisify(execFile)(
        process.execPath,
        ['--expose-gc', '--input-type=module', '--eval', script],
        { cwd: process.cwd() },
      )
      const { growth, planned, standard, lanes } = JSON.parse(stdout) as Record<string, number>
      if (growth === undefined || planned === undefined || standard === undefined || lanes === undefined)
        throw new Error(`unexpected output ${stdout}`)
      expect(growth).toBeLessThanOrEqual(planned + lanes * 16 * MEGA + 32 * MEGA)
      expect(growth).toBeLessThan(standard / 2)
    },
  )

  it.each([
    [2, 'attention'],
    [2, 'a layer'],
    [0, 'attention'],
  ] as const)('stays flat over 24 calls on %i workers: %s', { timeout: 120_000 }, async (workers, name) => {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--input-type=module', '--eval', repeated(workers, CALLS[name])],
      { cwd: process.cwd() },
    )
    // 1.2 GB of outputs, of which each thread may keep 128 MiB and what the last calls used; a Node with its workers
    // takes 100 MB.
    expect(Number(stdout)).toBeGreaterThan(0)
    expect(Number(stdout)).toBeLessThan(800 * MEGA)
  })
})
