import { Worker } from 'node:worker_threads'
import type { Runtime } from 'heddle'
import type { Random } from '../../tests/support/random.ts'
import { Crew, throughRelay, workerFile, workerWith } from './crew.ts'
import { ensureOutcome, outcomeOf, wait, type Promised } from './promise.ts'
import { bitsOf, WORKLOADS, type Workload } from './workloads.ts'

const LOST = ['WorkerLostError']
const GONE = ['WorkerLostError', 'BackendUnavailableError']

/** How workers are lost: `make` makes those of a crew, `strike` does it to a running one. */
interface Loss {
  readonly how: string
  readonly make?: (random: Random) => (made: number) => Worker
  readonly strike?: (worker: Worker) => unknown
  readonly codes: readonly string[]
  readonly seconds?: number
}

/** The first workers run this after some milliseconds, those that come later do not. */
function selfInflicted(code: string): NonNullable<Loss['make']> {
  return (random) => {
    const deadly = random.integer(1, 3)
    const delays = Array.from({ length: deadly }, () => random.integer(1, 120))
    return (made) =>
      made < deadly ? workerWith(`setTimeout(() => { ${code} }, ${delays[made]})`) : new Worker(workerFile)
  }
}

/** The first worker answers so many messages and then nothing any more. */
function silent(random: Random): (made: number) => Worker {
  let left = random.integer(1, 6)
  return (made) =>
    made > 0 ? new Worker(workerFile) : throughRelay(new Worker(workerFile), (data) => (left-- > 0 ? data : undefined))
}

const LOSSES: readonly Loss[] = [
  { how: 'terminate()', strike: (worker) => worker.terminate(), codes: LOST },
  { how: 'a crash', make: selfInflicted("throw new Error('crash')"), codes: LOST },
  { how: 'closing itself', make: selfInflicted('process.exit(0)'), codes: LOST },
  {
    how: 'a message that cannot be read',
    strike: (worker) => worker.emit('messageerror', new Error('could not be read')),
    codes: LOST,
  },
  { how: 'silence', make: silent, codes: LOST, seconds: 12 },
]

export function lostWorkers(calm: Runtime): Promised[] {
  return LOSSES.flatMap((loss) => WORKLOADS.map((workload) => lossPromise(loss, workload, calm)))
}

function lossPromise({ how, make, strike, codes, seconds }: Loss, workload: Workload, calm: Runtime): Promised {
  return {
    promise: `${workload.name}: workers lost by ${how}: the same bits, or WorkerLostError`,
    ...(seconds === undefined ? {} : { seconds }),
    attempt: async (random) => {
      const expected = await bitsOf(workload, calm)
      const crew = new Crew(make?.(random))
      const sharedMemory = random.pick(['auto', 'never'] as const)
      const startMs = performance.now()
      const run = crew.withRuntime({ workers: random.integer(1, 3), sharedMemory }, async (runtime) => {
        let faultMs = performance.now()
        const pending = outcomeOf(workload.run(runtime))
        for (let strikes = strike === undefined ? 0 : random.integer(1, 4); strikes > 0; strikes--) {
          await wait(random.uniform() * 40)
          faultMs = performance.now()
          if (crew.alive.length > 0) void strike?.(random.pick(crew.alive))
        }
        ensureOutcome(await pending, expected, codes)
        const settledMs = performance.now() - faultMs
        // Afterwards the runtime is as good as new; a worker may still end itself under the next call.
        const after = await outcomeOf(workload.run(runtime))
        ensureOutcome(after, expected, make === undefined ? [] : codes)
        return settledMs
      })
      // Workers that end by themselves may all do so before the first has started: then there is no runtime.
      return run.catch((error: unknown) => {
        if (make === undefined || (error as { readonly code?: unknown }).code !== 'BackendUnavailableError') throw error
        return performance.now() - startMs
      })
    },
  }
}

/** The n-th of what a host does for a pool fails: spawning a worker, or posting a message. */
export function refusingHosts(calm: Runtime): Promised[] {
  const spawn = (nth: number) => {
    let spawns = 0
    return (): Worker => {
      if (++spawns === nth) throw new Error('the host refuses a worker')
      return new Worker(workerFile)
    }
  }
  const post = (nth: number) => {
    let messages = 0
    return (): Worker => {
      const worker = new Worker(workerFile)
      const send = worker.postMessage.bind(worker)
      const refuse = (...message: Parameters<Worker['postMessage']>): void => {
        if (++messages === nth) throw new DOMException('could not be cloned', 'DataCloneError')
        send(...message)
      }
      return Object.assign(worker, { postMessage: refuse })
    }
  }
  return [hostPromise('worker', spawn, 6, calm), hostPromise('message', post, 30, calm)]
}

function hostPromise(what: string, make: (nth: number) => () => Worker, most: number, calm: Runtime): Promised {
  return {
    promise: `the n-th ${what} is refused: the same bits, or a typed error, and usable after`,
    attempt: async (random) => {
      const workload = random.pick(WORKLOADS)
      const expected = await bitsOf(workload, calm)
      const crew = new Crew(make(random.integer(1, most)))
      const startMs = performance.now()
      const started = crew.withRuntime(
        { workers: random.integer(1, 3), sharedMemory: random.pick(['auto', 'never'] as const) },
        async (runtime) => {
          const outcome = await outcomeOf(workload.run(runtime))
          const settledMs = performance.now() - startMs
          ensureOutcome(outcome, expected, GONE)
          // Where the refusal is still to come, it comes now.
          ensureOutcome(await outcomeOf(workload.run(runtime)), expected, GONE)
          ensureOutcome(await outcomeOf(workload.run(runtime)), expected, 'error' in outcome ? [] : GONE)
          return settledMs
        },
      )
      return started.catch((error: unknown) => {
        ensureOutcome({ error }, '', GONE)
        return performance.now() - startMs
      })
    },
  }
}
