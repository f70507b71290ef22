import { createRuntime } from 'heddle'
import { getEventListeners } from 'node:events'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { Random } from '../support/random.ts'
import { turns, withRuntime, WorkerCrew } from '../support/runtimes.ts'
import { normalTensor } from '../support/tensors.ts'

const same = normalTensor(new Random(251), [4, 100, 16])
const call = { query: same, key: same, value: same }

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

/**
 * Bytes outside the heap that are still reachable, buffers that came from a worker among them (`arrayBuffers` leaves
 * those out): the engine frees what is not on a thread of its own, a while after it was asked.
 */
async function liveBytes(): Promise<number> {
  let least = Infinity
  for (let time = 0; time < 40; time++) {
    collectGarbage()
    await turns(20)
    least = Math.min(least, process.memoryUsage().external)
  }
  return least
}

test.each([0, 2])(
  '1,000 calls on %i workers leave no memory, no worker and no port behind',
  async (workers) => {
    const crew = new WorkerCrew()
    const runtime = await createRuntime(workers === 0 ? { workers } : { workers, workerFactory: crew.workerFactory })
    const run = async (calls: number) => {
      for (let done = 0; done < calls; done++) await runtime.attention(call, { chunkSize: 25, returnLogSumExp: true })
      return { bytes: await liveBytes(), resident: runtime.lanes.reduce((sum, lane) => sum + lane.residentBytes, 0) }
    }
    const warm = await run(50)
    const after = await run(1000)
    expect(after.bytes - warm.bytes).toBeLessThan(2 * 1024 * 1024)
    expect(after.resident).toBe(warm.resident)
    await runtime.close()
    await crew.allExited()
    expect(crew.alive).toEqual([])
  },
  60_000,
)

test('a signal that outlives its calls keeps none of their listeners', async () => {
  const { signal } = new AbortController()
  await withRuntime({ workers: 1 }, async (runtime) => {
    for (let done = 0; done < 20; done++) await runtime.attention(call, { signal })
    await runtime.attention(call, { signal, scale: NaN }).catch(() => undefined)
  })
  expect(getEventListeners(signal, 'abort')).toEqual([])
})
