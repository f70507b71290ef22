import { afterEach, describe, expect, inject, test } from 'vitest'
import { bytesOf, filled } from '../support/tensors.ts'
import { openBeatingPool, type BeatingPool } from '../support/worker-pool.ts'

const workerUrl = new URL('../../dist/worker.js', import.meta.url).href
const transport = inject('isolated') ? 'shared' : 'transfer'
const same = filled([1, 2, 1200, 32], (at) => Math.sin(at * 1.7))
const call = { query: same, key: same, value: same }
const options = { chunkSize: 100 }

const open: BeatingPool[] = []
afterEach(() => Promise.all(open.splice(0).map(({ pool }) => pool.close())))

async function poolOf(lanes: number, workerFactory: () => Worker): Promise<BeatingPool> {
  const beating = await openBeatingPool(lanes, { workerFactory }, transport)
  open.push(beating)
  return beating
}

const healthyWorker = (): Worker => new Worker(workerUrl, { type: 'module' })

/** Heddle's worker, and beside it code of the test's own. */
function workerWith(code: string): Worker {
  const text = `import ${JSON.stringify(workerUrl)}\n${code}`
  return new Worker(URL.createObjectURL(new Blob([text], { type: 'text/javascript' })), { type: 'module' })
}

/** No event tells a page of any of these. */
const ENDS: Readonly<Record<string, () => { readonly make: () => Worker; readonly during: () => void }>> = {
  'is terminated from outside': () => {
    const workers: Worker[] = []
    const make = (): Worker => {
      const worker = healthyWorker()
      workers.push(worker)
      return worker
    }
    return { make, during: () => workers[0]?.terminate() }
  },
  'closes itself': () => {
    let made = 0
    const channel = new BroadcastChannel('close')
    const make = (): Worker =>
      made++ === 0 ? workerWith(`new BroadcastChannel('close').onmessage = () => self.close()`) : healthyWorker()
    return { make, during: () => channel.postMessage('now') }
  },
  'blocks for ever': () => {
    let made = 0
    const channel = new BroadcastChannel('block')
    const make = (): Worker =>
      made++ === 0 ? workerWith(`new BroadcastChannel('block').onmessage = () => { for (;;); }`) : healthyWorker()
    return { make, during: () => channel.postMessage('now') }
  },
}

describe('a worker in the middle of a call', () => {
  test.each(Object.entries(ENDS))('%s: its tasks run on others, with the same bits', async (_, scenario) => {
    const healthy = await poolOf(1, healthyWorker)
    const { output: expected } = await healthy.attention(call, options)
    const { make, during } = scenario()
    const pool = await poolOf(1, make)
    const running = pool.attention(call, { ...options, onProgress: during })
    const { output, retries } = await pool.beatUntil(running)
    expect(bytesOf(output)).toEqual(bytesOf(expected))
    expect(retries).toBeGreaterThan(0)
  })
})
