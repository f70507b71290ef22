import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'

const HEAVY = process.env['HEDDLE_HEAVY'] === '1'
const TOKENS = HEAVY ? 65_536 : 16_384
const MEGA = 2 ** 20

/** One causal head over plain arrays in a process of its own, seen from outside: what the operating system says it holds. */
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

describe('resident memory', () => {
  it(`of one call over ${TOKENS} tokens grows by the plan, 16 MB a lane and 32 MB at most`, { timeout: 120_000 }, async () => {
    const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', '--input-type=module', '--eval', script], { cwd: process.cwd() })
    const { growth, planned, standard, lanes } = JSON.parse(stdout) as Record<string, number>
    if (growth === undefined || planned === undefined || standard === undefined || lanes === undefined) throw new Error(`unexpected output ${stdout}`)
    expect(growth).toBeLessThanOrEqual(planned + lanes * 16 * MEGA + 32 * MEGA)
    expect(growth).toBeLessThan(standard / 2)
  })
})
