import { createRuntime, type Runtime } from 'heddle'
import { filled, fingerprint } from '../../tests/support/tensors.ts'
import { Crew } from './crew.ts'
import { ensure, ensureOutcome, outcomeOf, wait, type Promised } from './promise.ts'
import { bitsOf, WORKLOADS, type Workload } from './workloads.ts'

const small = filled([1, 300, 32], (at) => Math.cos(at))
const attendSmall = async (runtime: Runtime): Promise<string> =>
  fingerprint((await runtime.attention({ query: small, key: small, value: small }, { chunkSize: 50 })).output.data)

/** An abort, at once or in the middle of any call: its reason, and a pool that works on. */
export function aborts(calm: Runtime, shared: Runtime): Promised {
  return {
    promise: 'an abort at any time: the signal’s reason, and the runtime works on',
    least: 1000,
    most: 1000,
    attempt: async (random) => {
      const expected = await attendSmall(calm)
      const controller = new AbortController()
      const reason = new Error('enough')
      const pending = outcomeOf(random.pick(WORKLOADS).run(shared, controller.signal))
      if (random.chance(0.9)) await wait(random.uniform() * 30)
      const abortMs = performance.now()
      controller.abort(reason)
      const outcome = await pending
      const settledMs = performance.now() - abortMs
      ensure(
        'bits' in outcome || outcome.error === reason,
        `expected the signal's reason, got ${'error' in outcome ? String(outcome.error) : ''}`,
      )
      ensureOutcome(await outcomeOf(attendSmall(shared)), expected, [])
      return settledMs
    },
  }
}

/** close() under one to four calls: each settles, and no worker is left. */
export function closes(calm: Runtime): Promised {
  return {
    promise: 'close() with calls in flight: each settles, no worker is left',
    attempt: async (random) => {
      const chosen = Array.from({ length: random.integer(1, 4) }, () => random.pick(WORKLOADS))
      const expected = await inOrder(chosen, calm)
      const crew = new Crew()
      let closedMs = 0
      const settledMs = await crew.withRuntime(
        { workers: random.integer(0, 3) || 1, sharedMemory: random.pick(['auto', 'never'] as const) },
        async (runtime) => {
          const pending = chosen.map((workload) => outcomeOf(workload.run(runtime)))
          await wait(random.uniform() * 30)
          closedMs = performance.now()
          const closing = runtime.close()
          for (const [index, outcome] of (await Promise.all(pending)).entries())
            ensureOutcome(outcome, expected[index] ?? '', ['RuntimeClosedError'])
          await closing
          return performance.now() - closedMs
        },
      )
      ensure(crew.alive.length === 0, `expected no worker after close(), got ${crew.alive.length}`)
      return settledMs
    },
  }
}

async function inOrder(workloads: readonly Workload[], calm: Runtime): Promise<string[]> {
  const bits: string[] = []
  for (const workload of workloads) bits.push(await bitsOf(workload, calm))
  return bits
}

/** Two runtimes at work at once, one of which loses its workers and is closed. */
export function twoRuntimes(calm: Runtime): Promised {
  return {
    promise: 'two runtimes: what happens to one does not reach the other',
    attempt: async (random) => {
      const [mine, other] = [random.pick(WORKLOADS), random.pick(WORKLOADS)]
      const expected = await inOrder([mine, other], calm)
      const crew = new Crew()
      const untouched = await createRuntime({ workers: 1 })
      try {
        const steady = outcomeOf(mine.run(untouched))
        const settledMs = await crew.withRuntime({ workers: 2 }, async (runtime) => {
          const pending = outcomeOf(other.run(runtime))
          await wait(random.uniform() * 20)
          const faultMs = performance.now()
          if (random.chance(0.5)) await Promise.all(crew.alive.map((worker) => worker.terminate()))
          else await runtime.close()
          ensureOutcome(await pending, expected[1] ?? '', ['WorkerLostError', 'RuntimeClosedError'])
          return performance.now() - faultMs
        })
        ensureOutcome(await steady, expected[0] ?? '', [])
        return settledMs
      } finally {
        await untouched.close()
      }
    },
  }
}

/** The n-th buffer that the calling thread makes is refused. */
export function refusedAllocations(calm: Runtime): Promised {
  const real = { SharedArrayBuffer, ArrayBuffer }
  const refuse = (Class: keyof typeof real, nth: number): void => {
    let count = 0
    const construct = (target: new (bytes: number) => object, [bytes]: [number]): object => {
      if (++count === nth) throw new RangeError('Array buffer allocation failed')
      return new target(bytes)
    }
    Object.assign(globalThis, { [Class]: new Proxy(real[Class], { construct }) })
  }
  return {
    promise: 'the n-th allocation is refused: the same bits, or MemoryBudgetError, and usable after',
    attempt: async (random) => {
      const workload = random.pick(WORKLOADS.filter(({ name }) => name !== 'training steps'))
      const expected = await bitsOf(workload, calm)
      const runtime = await createRuntime({
        workers: random.integer(0, 2),
        sharedMemory: random.pick(['auto', 'never'] as const),
      })
      try {
        await workload.run(runtime)
        refuse(random.pick(['SharedArrayBuffer', 'ArrayBuffer'] as const), random.integer(1, 20))
        const faultMs = performance.now()
        const outcome = await outcomeOf(workload.run(runtime)).finally(() => Object.assign(globalThis, real))
        const settledMs = performance.now() - faultMs
        ensureOutcome(outcome, expected, ['MemoryBudgetError'])
        ensureOutcome(await outcomeOf(workload.run(runtime)), expected, [])
        return settledMs
      } finally {
        Object.assign(globalThis, real)
        await runtime.close()
      }
    },
  }
}

/** Short calls while a long one runs end before any task of it does. */
export function shortCalls(shared: Runtime): Promised {
  const long = filled([1, 8192, 64], (at) => Math.sin(at * 0.37))
  const short = filled([1, 500, 64], (at) => Math.sin(at))
  return {
    promise: 'three short calls end before one task of a long call does',
    seconds: 2,
    most: 20,
    attempt: async () => {
      let tasksDone = 0
      const controller = new AbortController()
      const chunkSize = 8192 / shared.lanes.length
      const running = shared.attention(
        { query: long, key: long, value: long },
        { chunkSize, signal: controller.signal, onChunk: () => void tasksDone++ },
      )
      const ended = running.then(
        () => undefined,
        () => undefined,
      )
      const startMs = performance.now()
      for (let call = 0; call < 3; call++) await shared.attention({ query: short, key: short, value: short })
      const settledMs = performance.now() - startMs
      const before = tasksDone
      controller.abort()
      await ended
      ensure(before === 0, `expected no task of the long call to end first, got ${before}`)
      return settledMs
    },
  }
}

/** Memory over 200 calls, each of whose outputs takes 12.8 MB of shared memory. */
export function flatMemory(): Promised {
  const mostBytes = 600 * 2 ** 20
  return {
    promise: 'resident memory is flat over 200 calls with shared inputs',
    seconds: 20,
    most: 1,
    attempt: async () => {
      const runtime = await createRuntime({ workers: 2 })
      try {
        const query = runtime.tensor([50_000, 64])
        const before = process.memoryUsage().rss
        let most = 0
        for (let call = 0; call < 200; call++) {
          await runtime.attention({ query, key: query, value: query }, { causal: true, window: { before: 16 } })
          most = Math.max(most, process.memoryUsage().rss - before)
        }
        ensure(most < mostBytes, `expected less than ${mostBytes} bytes more, got ${most}`)
        return null
      } finally {
        await runtime.close()
      }
    },
  }
}

export function settling(calm: Runtime, shared: Runtime): Promised[] {
  return [
    aborts(calm, shared),
    closes(calm),
    twoRuntimes(calm),
    refusedAllocations(calm),
    shortCalls(shared),
    flatMemory(),
  ]
}
