import { createRuntime } from 'heddle'
import { Worker } from 'node:worker_threads'
import { expect, test } from 'vitest'
import { Random } from '../support/random.ts'
import { allLanes, WorkerCrew, workerFile, withRuntime } from '../support/runtimes.ts'
import { filled, fingerprint, normalTensor } from '../support/tensors.ts'
import { WrappedWorker } from '../support/wrapped-worker.ts'

const heavy = process.env['HEDDLE_HEAVY'] === '1'
const same = filled([2, 3000, 32], (at) => Math.sin(at * 1.7))
const call = { query: same, key: same, value: same }
const options = { causal: true, chunkSize: 200, returnLogSumExp: true }
const random = new Random(231)

async function expectedBits(): Promise<string> {
  return withRuntime({ workers: 0 }, async (runtime) =>
    fingerprint((await runtime.attention(call, options)).output.data),
  )
}

test(
  `a random worker is killed at a random time: the right bits or WorkerLostError (${heavy ? 300 : 12} runs)`,
  async () => {
    const expected = await expectedBits()
    const outcomes = { right: 0, retried: 0, lost: 0 }
    for (let run = 0; run < (heavy ? 300 : 12); run++) {
      const crew = new WorkerCrew()
      const runtime = await createRuntime({
        workers: 2,
        sharedMemory: run % 2 === 0 ? 'auto' : 'never',
        workerFactory: crew.workerFactory,
      })
      // 30 tasks, some of which are the last before a death.
      const deadly = new Set(Array.from({ length: random.integer(1, 4) }, () => random.integer(0, 28)))
      let tasks = 0
      const onTask = (): void => {
        if (deadly.has(tasks++) && crew.alive.length > 0) void random.pick(crew.alive).terminate()
      }
      const pending = runtime.attention(call, { ...options, onTask }).then(
        ({ output, report }) => ({ bits: fingerprint(output.data), retries: report.retries, memory: report.memory }),
        (error: unknown) => ({ error }),
      )
      const outcome = await pending
      if ('error' in outcome) {
        expect(outcome.error).toMatchObject({ code: 'WorkerLostError' })
        outcomes.lost++
      } else {
        expect(outcome.bits, `run ${run}`).toBe(expected)
        expect(outcome.memory.peakBytes).toBeLessThanOrEqual(outcome.memory.plannedBytes)
        outcomes[outcome.retries > 0 ? 'retried' : 'right']++
      }
      expect(fingerprint((await runtime.attention(call, options)).output.data)).toBe(expected)
      await runtime.close()
      await crew.allExited()
      expect(crew.alive).toEqual([])
    }
    // A test in which no death ever hit a task would prove nothing.
    expect(outcomes.retried + outcomes.lost, JSON.stringify(outcomes)).toBeGreaterThan(0)
  },
  heavy ? 600_000 : 60_000,
)

test('workers that die under every task: WorkerLostError, within a stated number of tries, and the pool is usable after', async () => {
  const crew = new WorkerCrew()
  let deadly = false
  const workerFactory = () => {
    const worker = crew.workerFactory()
    // Answers its start, and dies at the first message after it: the task.
    let messages = 0
    const post = worker.postMessage.bind(worker)
    worker.postMessage = (...message: Parameters<Worker['postMessage']>) => {
      post(...message)
      if (deadly && ++messages === 2) void worker.terminate()
    }
    return worker
  }
  deadly = true
  const runtime = await createRuntime({ workers: 2, workerFactory })
  try {
    const error: unknown = await runtime.attention(call, options).then(
      () => 'no error',
      (reason: unknown) => reason,
    )
    expect(error).toMatchObject({ code: 'WorkerLostError' })
    expect((error as Error).message).toMatch(/\d+ tries/)
    deadly = false
    expect(fingerprint((await runtime.attention(call, options)).output.data)).toBe(await expectedBits())
  } finally {
    await runtime.close()
    await crew.allExited()
  }
})

test('workers that die, and whose successors die while they start: WorkerLostError, and the pool is usable after', async () => {
  const crew = new WorkerCrew()
  let deadly = false
  const workerFactory = () => {
    const worker = crew.workerFactory()
    if (deadly) void worker.terminate()
    return worker
  }
  const runtime = await createRuntime({ workers: 2, workerFactory })
  try {
    const pending = runtime.attention(call, options).then(
      () => 'no error',
      (reason: unknown) => reason,
    )
    deadly = true
    await Promise.all(crew.workers.map((worker) => worker.terminate()))
    const error = await pending
    expect(error).toMatchObject({
      code: 'WorkerLostError',
      cause: { message: expect.stringMatching(/exited/) as string },
    })
    expect((error as Error).message).toMatch(/3 tries/)
    deadly = false
    expect(fingerprint((await runtime.attention(call, options)).output.data)).toBe(await expectedBits())
  } finally {
    await runtime.close()
    await crew.allExited()
  }
})

test('a death settles the call where no worker can be had any more, and says why', async () => {
  const crew = new WorkerCrew()
  let broken = false
  const workerFactory = () => {
    if (broken) throw new Error('no more workers')
    return crew.workerFactory()
  }
  const runtime = await createRuntime({ workers: 2, workerFactory })
  await allLanes(runtime)
  const pending = runtime.attention(call, { ...options, chunkSize: 3000 }).then(
    () => 'no error',
    (reason: unknown) => reason,
  )
  broken = true
  await Promise.all(crew.workers.map((worker) => worker.terminate()))
  // Not the heart that stopped, which takes seconds to notice.
  expect(await pending).toMatchObject({
    code: expect.stringMatching(/^(WorkerLostError|BackendUnavailableError)$/) as string,
    cause: { message: expect.stringMatching(/exited|no more workers/) as string },
  })
  broken = false
  expect(fingerprint((await runtime.attention(call, options)).output.data)).toBe(await expectedBits())
  await runtime.close()
})

test.each([1, 2, 3, 4, 5])(
  'the %i-th spawn fails: a typed error or the right answer, and the runtime is usable after',
  async (nth) => {
    const crew = new WorkerCrew()
    let spawns = 0
    const workerFactory = () => {
      if (++spawns === nth) throw new Error(`spawn ${nth} failed`)
      return crew.workerFactory()
    }
    const expected = await expectedBits()
    const runtime = await createRuntime({ workers: 3, workerFactory })
    try {
      for (let round = 0; round < 3; round++) {
        const outcome = await runtime.attention(call, options).then(
          ({ output }) => fingerprint(output.data),
          (error: { code?: string }) => error.code,
        )
        expect([expected, 'WorkerLostError', 'BackendUnavailableError']).toContain(outcome)
        if (crew.alive.length > 0) await random.pick(crew.alive).terminate()
      }
      expect(fingerprint((await runtime.attention(call, options)).output.data)).toBe(expected)
    } finally {
      await runtime.close()
    }
  },
)

test('a worker of another release is refused with a ProtocolError', async () => {
  const workerFactory = () => new WrappedWorker((data, deliver) => deliver(withVersion(data, 9999)))
  const error: unknown = await createRuntime({ workers: 1, workerFactory }).then(
    (runtime) => runtime.close(),
    (reason: unknown) => reason,
  )
  expect(error).toMatchObject({ code: 'ProtocolError' })
  expect((error as Error).message).toMatch(/expected .*got 9999/)
})

/** The answer to a start, as Comlink sends it, with another version in it. */
function withVersion(data: unknown, version: number): unknown {
  const message = data as { value?: { version?: number } }
  return message.value?.version === undefined ? data : { ...message, value: { ...message.value, version } }
}

test.each([1, 2, 3, 5, 8])(
  'the %i-th message cannot be posted: a typed error or the right answer, and the runtime is usable after',
  async (nth) => {
    const expected = await expectedBits()
    let messages = 0
    const workerFactory = () => {
      const worker = new Worker(workerFile)
      const post = worker.postMessage.bind(worker)
      worker.postMessage = (...message: Parameters<Worker['postMessage']>) => {
        if (++messages === nth) throw new DOMException('could not be cloned', 'DataCloneError')
        post(...message)
      }
      return worker
    }
    const runtime = await createRuntime({ workers: 2, workerFactory }).catch((error: unknown) => error)
    if (runtime instanceof Error) {
      // Both starts count as messages: without the only lane that could start there is no runtime.
      expect(runtime).toMatchObject({ code: 'BackendUnavailableError' })
      return
    }
    const opened = runtime as Awaited<ReturnType<typeof createRuntime>>
    const outcome = await opened.attention(call, options).then(
      ({ output }) => fingerprint(output.data),
      (error: { code?: string }) => error.code,
    )
    expect([expected, 'WorkerLostError', 'BackendUnavailableError']).toContain(outcome)
    expect(fingerprint((await opened.attention(call, options)).output.data)).toBe(expected)
    await opened.close()
  },
)

test.each([
  ['throws', "throw new Error('boom')"],
  ['exits', 'process.exit(0)'],
  ['rejects unhandled', "void Promise.reject(new Error('boom'))"],
])('a worker that %s as it gets its first task: another does its part, with the right bits', async (_, crash) => {
  const expected = await expectedBits()
  const crew = new WorkerCrew()
  const workerFactory = () => {
    const crashes = crew.workers.length === 0
    // Comlink names the method that is called.
    const listen = `parentPort.on('message', (message) => { if (message.path?.[0] === 'run') { ${crash} } })`
    const code = `import { parentPort } from 'node:worker_threads'
      import ${JSON.stringify(workerFile.href)}
      ${crashes ? listen : ''}`
    return crew.add(new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`)))
  }
  const runtime = await createRuntime({ workers: 2, workerFactory })
  await allLanes(runtime)
  const { output, report } = await runtime.attention(call, options)
  expect(fingerprint(output.data)).toBe(expected)
  expect(report.retries).toBeGreaterThan(0)
  // Two at the start, and one in place of the first.
  expect(crew.workers.length).toBe(3)
  expect(fingerprint((await runtime.attention(call, options)).output.data)).toBe(expected)
  await runtime.close()
  await crew.allExited()
})

test('a message that cannot be read counts as a lost worker: its task runs again', async () => {
  const expected = await expectedBits()
  const crew = new WorkerCrew()
  const runtime = await createRuntime({ workers: 2, workerFactory: crew.workerFactory })
  await allLanes(runtime)
  const pending = runtime.attention(call, options)
  crew.workers[0]!.emit('messageerror', new Error('could not be deserialised'))
  const { output, report } = await pending
  expect(fingerprint(output.data)).toBe(expected)
  expect(report.retries).toBeGreaterThan(0)
  await runtime.close()
  await crew.allExited()
})

test('many short calls while workers die: each has the right bits or WorkerLostError, and some were hit', async () => {
  const small = normalTensor(random, [40, 8])
  const smallCall = { query: small, key: small, value: small }
  const crew = new WorkerCrew()
  const runtime = await createRuntime({ workers: 2, workerFactory: crew.workerFactory })
  const expected = fingerprint((await runtime.attention(smallCall)).output.data)
  const outcomes = { retries: 0, lost: 0 }
  for (let round = 0; round < 10; round++) {
    const calls = Array.from({ length: 4 }, () =>
      runtime.attention(smallCall, { chunkSize: 8 }).then(
        ({ output, report }) => {
          outcomes.retries += report.retries
          return fingerprint(output.data)
        },
        (error: { code?: string }) => {
          outcomes.lost++
          return error.code
        },
      ),
    )
    // All of them, so that whatever has been sent is lost.
    if (round % 3 === 1) for (const worker of crew.alive) void worker.terminate()
    for (const outcome of await Promise.all(calls)) expect([expected, 'WorkerLostError']).toContain(outcome)
  }
  expect(outcomes.retries + outcomes.lost, JSON.stringify(outcomes)).toBeGreaterThan(0)
  expect(crew.workers.length).toBeGreaterThan(2)
  await runtime.close()
  await crew.allExited()
})
