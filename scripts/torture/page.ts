import { createRuntime, type Runtime } from 'heddle'
import { Random } from '../../tests/support/random.ts'
import { ensureOutcome, outcomeOf, wait } from './promise.ts'
import { bitsOf, WORKLOADS } from './workloads.ts'

/** What runs in the page: how its workers are lost, and one case of it. */

const workerUrl = new URL('worker.js', import.meta.url)
type Make = (made: number) => Worker
const healthy = (): Worker => new Worker(workerUrl, { type: 'module' })

/** Heddle's worker, and beside it code of the test's own. */
function workerWith(code: string): Worker {
  const text = `import ${JSON.stringify(workerUrl.href)}\n${code}`
  return new Worker(URL.createObjectURL(new Blob([text], { type: 'text/javascript' })), { type: 'module' })
}

/** Answers so many messages and then nothing any more. */
function silentAfter(messages: number): Worker {
  let left = messages
  const worker = healthy()
  const listen = worker.addEventListener.bind(worker) as (type: string, listener: (event: Event) => void) => void
  const relay = (type: string, listener: (event: Event) => void): void =>
    listen(type, type === 'message' ? (event) => (left-- > 0 ? listener(event) : undefined) : listener)
  return Object.assign(worker, { addEventListener: relay })
}

/** No event tells a page of any of these. @returns a factory, for a runtime whose workers are in `workers` */
const ENDS: Readonly<Record<string, (random: Random, workers: readonly Worker[]) => Make>> = {
  'terminate()': (random, workers) => {
    void wait(random.uniform() * 60).then(() => workers[0]?.terminate())
    return healthy
  },
  'self.close()': (random) => {
    const delayMs = random.integer(1, 80)
    return (made) => (made === 0 ? workerWith(`setTimeout(() => self.close(), ${delayMs})`) : healthy())
  },
  silence: (random) => {
    const messages = random.integer(1, 6)
    return (made) => (made === 0 ? silentAfter(messages) : healthy())
  },
}

/** On the page's thread, where nothing is lost. */
const calm: Promise<Runtime> = createRuntime({ workers: 0 })

/** One case. @returns milliseconds until the call had settled @throws when it, or the one after it, was wrong */
async function lose(how: string, seed: number): Promise<number> {
  const random = new Random(seed)
  const workload = random.pick(WORKLOADS)
  const expected = await bitsOf(workload, await calm)
  const workers: Worker[] = []
  const make = ENDS[how]?.(random, workers)
  if (make === undefined) throw new Error(`expected one of ${Object.keys(ENDS).join(', ')}, got ${how}`)
  const workerFactory = (): Worker => {
    const worker = make(workers.length)
    workers.push(worker)
    return worker
  }
  const startMs = performance.now()
  const runtime = await createRuntime({ workers: random.integer(1, 2), workerFactory }).catch((error: unknown) => {
    // It may be lost before it has started: then there is no runtime.
    ensureOutcome({ error }, expected, ['BackendUnavailableError'])
    return null
  })
  if (runtime === null) return performance.now() - startMs
  try {
    ensureOutcome(await outcomeOf(workload.run(runtime)), expected, ['WorkerLostError'])
    const settledMs = performance.now() - startMs
    ensureOutcome(await outcomeOf(workload.run(runtime)), expected, ['WorkerLostError'])
    return settledMs
  } finally {
    await runtime.close()
  }
}

Object.assign(globalThis, { lose })
