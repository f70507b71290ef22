import { createRuntime } from 'heddle'
import { execFile } from 'node:child_process'
import { getEventListeners } from 'node:events'
import { promisify } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { Random } from '../support/random.ts'
import { withRuntime, WorkerCrew } from '../support/runtimes.ts'
import { normalTensor } from '../support/tensors.ts'

const heavy = process.env['HEDDLE_HEAVY'] === '1'
const same = normalTensor(new Random(251), [4, 100, 16])
const call = { query: same, key: same, value: same }

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

test.each([0, 2])('1,000 calls on %i workers leave no memory, no worker and no port behind', async (workers) => {
  const crew = new WorkerCrew()
  const runtime = await createRuntime(workers === 0 ? { workers } : { workers, workerFactory: crew.workerFactory })
  const run = async (calls: number) => {
    for (let done = 0; done < calls; done++) await runtime.attention(call, { chunkSize: 25, returnLogSumExp: true })
    collectGarbage()
    return { bytes: process.memoryUsage().arrayBuffers, resident: runtime.lanes.reduce((sum, lane) => sum + lane.residentBytes, 0) }
  }
  const warm = await run(50)
  const after = await run(1000)
  expect(after.bytes - warm.bytes).toBeLessThan(2 * 1024 * 1024)
  expect(after.resident).toBe(warm.resident)
  await runtime.close()
  await crew.allExited()
  expect(crew.alive).toEqual([])
}, 60_000)

test('a signal that outlives its calls keeps none of their listeners', async () => {
  const { signal } = new AbortController()
  await withRuntime({ workers: 1 }, async (runtime) => {
    for (let done = 0; done < 20; done++) await runtime.attention(call, { signal })
    await runtime.attention(call, { signal, scale: NaN }).catch(() => undefined)
  })
  expect(getEventListeners(signal, 'abort')).toEqual([])
})

const n = heavy ? 65_536 : 16_384

test(`resident memory in a fresh process at n = ${n}: at most the plan, 16 MB a lane and 32 MB`, async () => {
  const script = `
    import { createRuntime } from 'heddle'
    const runtime = await createRuntime({ workers: 2 })
    const [query, key, value] = [0, 1, 2].map(() => {
      const made = runtime.tensor([${n}, 64])
      for (let at = 0; at < made.data.length; at++) made.data[at] = Math.sin(at)
      return made
    })
    const out = runtime.tensor([${n}, 64])
    out.data.fill(1)
    const tiny = { data: new Float32Array(64 * 64), shape: [64, 64] }
    await runtime.attention({ query: tiny, key: tiny, value: tiny }, { chunkSize: 8 })
    const before = process.memoryUsage().rss
    let most = before
    const { report } = await runtime.attention({ query, key, value }, {
      causal: true, out, onChunk: () => (most = Math.max(most, process.memoryUsage().rss)),
    })
    await runtime.close()
    console.log(JSON.stringify({ growth: most - before, planned: report.plan.totalBytes }))`
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script], { timeout: 200_000 })
  const { growth, planned } = JSON.parse(stdout) as { growth: number; planned: number }
  expect(growth).toBeLessThan(planned + 2 * 16e6 + 32e6)
  expect(planned).toBeLessThan(64e6)
}, 220_000)
