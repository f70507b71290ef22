import { createRuntime, ProtocolError, type Runtime, type RuntimeOptions } from 'heddle'
import { Linear } from 'heddle/nn'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { filled, fingerprint } from '../support/tensors.ts'
import { WrappedWorker } from '../support/wrapped-worker.ts'

/** What a worker answers to a task, as Comlink sends it. */
interface Answer {
  results: unknown
  residentBytes: unknown
  keptBytes: unknown
  fallbacks: unknown
}

type Lie = (answer: Answer) => unknown

const first = (answer: Answer): Record<string, unknown> => (answer.results as Record<string, unknown>[])[0]!
const replaced =
  (change: (answer: Answer) => Partial<Answer>): Lie =>
  (answer) => ({ ...answer, ...change(answer) })
const result = (change: (result: Record<string, unknown>) => Record<string, unknown>): Lie =>
  replaced((answer) => ({ results: [{ ...first(answer), ...change(first(answer)) }] }))

const LIES: Readonly<Record<string, Lie>> = {
  undefined: () => undefined,
  null: () => null,
  'a number': () => 7,
  'no results': replaced(() => ({ results: undefined })),
  'an empty list of results': replaced(() => ({ results: [] })),
  'one result too many': replaced((answer) => ({ results: [first(answer), first(answer)] })),
  'a result that is undefined': replaced(() => ({ results: [undefined] })),
  'results that are no list': replaced((answer) => ({ results: { 0: first(answer), length: 1 } })),
  'bytes that are NaN': replaced(() => ({ residentBytes: NaN })),
  'bytes that are negative': replaced(() => ({ keptBytes: -1 })),
  'bytes that are a text': replaced(() => ({ residentBytes: '12' })),
  'no fallbacks': replaced(() => ({ fallbacks: undefined })),
  'fallbacks that are none': replaced(() => ({ fallbacks: [null] })),
  'a time that is NaN': result(() => ({ elapsedMs: NaN })),
  'a time that is negative': result(() => ({ elapsedMs: -1 })),
}

const ATTENTION_LIES: Readonly<Record<string, Lie>> = {
  'no output': result(() => ({ output: undefined })),
  'an output that is too short': result(({ output }) => ({ output: (output as Float32Array).slice(1) })),
  'an output that is too long': result(() => ({ output: new Float32Array(10_000) })),
  'an output of another type': result(({ output }) => ({ output: Float64Array.from(output as Float32Array) })),
  'an output that is a list': result(({ output }) => ({ output: [...(output as Float32Array)] })),
  'statistics that are too short': result(() => ({ entropy: new Float32Array(1) })),
  'indices of another type': result(({ maxIndex }) => ({ maxIndex: Float32Array.from(maxIndex as Int32Array) })),
  'tiles that are NaN': result(() => ({ tiles: NaN })),
  'tiles that are negative': result(() => ({ skippedTiles: -1 })),
}

const STAGE_LIES: Readonly<Record<string, Lie>> = {
  'no rows': result(() => ({ stored: undefined })),
  'fewer lists of rows': result(() => ({ stored: [] })),
  'rows that are too short': result(({ stored }) => ({ stored: [(stored as Float32Array[])[0]!.slice(1)] })),
  'rows that are undefined': result(() => ({ stored: [undefined] })),
}

const PASS_LIES: Readonly<Record<string, Lie>> = {
  'a number of tasks that is NaN': result(() => ({ tasks: NaN })),
  'no number of tasks': result(() => ({ tasks: undefined })),
}

const runtimes: Runtime[] = []
afterEach(() => Promise.all(runtimes.splice(0).map((runtime) => runtime.close())))

/** A runtime whose workers tell one lie when `lie` is set, and the number of workers that it started. */
async function lyingRuntime(
  options: RuntimeOptions,
): Promise<{ readonly runtime: Runtime; readonly state: { lie: Lie | null; started: number } }> {
  const state: { lie: Lie | null; started: number } = { lie: null, started: 0 }
  const workerFactory = () => {
    state.started++
    return new WrappedWorker((data, deliver) => {
      const message = data as { value?: { value?: Answer } & Answer }
      const { lie } = state
      if (lie === null || message.value?.results === undefined) return deliver(data)
      state.lie = null
      deliver({ ...message, value: lie(message.value) })
    })
  }
  return { runtime: await createRuntime({ workers: 1, workerFactory, ...options }), state }
}

const same = filled([1, 2, 60, 8], (at) => Math.sin(at * 1.7))
const attend = async (runtime: Runtime) => {
  const { output } = await runtime.attention(
    { query: same, key: same, value: same },
    { chunkSize: 10, returnStatistics: true },
  )
  return fingerprint(output.data)
}

const layer = new Linear(8, 8, { seed: 1 })
const rows = filled([1, 60, 8], (at) => Math.cos(at))
const forward = async (runtime: Runtime) =>
  fingerprint((await layer.forward(rows, { runtime, chunkSize: 10 })).output.data)

describe.each([
  ['attention over shared memory', {}, attend, { ...LIES, ...ATTENTION_LIES }],
  ['attention by transfer', { sharedMemory: 'never' }, attend, { ...LIES, ...ATTENTION_LIES }],
  ['a pass of layers', {}, forward, { ...LIES, ...PASS_LIES }],
  ['a layer by transfer', { sharedMemory: 'never' }, forward, { ...LIES, ...STAGE_LIES }],
] as const)('%s', (_, options, call, lies) => {
  // One runtime for all of them: each lie costs it a worker.
  let lying: Awaited<ReturnType<typeof lyingRuntime>>
  let expected: string
  let plan: number
  beforeAll(async () => {
    lying = await lyingRuntime(options)
    expected = await call(lying.runtime)
    plan = lying.runtime.plan({ query: same, key: same, value: same }).totalBytes
  })
  afterAll(() => lying.runtime.close())

  test.each(Object.entries(lies))(
    'a worker that answers %s: ProtocolError, another worker, and plans as before',
    async (_name, lie) => {
      const { runtime, state } = lying
      const before = state.started
      state.lie = lie
      const error: unknown = await call(runtime).then(
        () => 'no error',
        (reason: unknown) => reason,
      )
      expect(error).toBeInstanceOf(ProtocolError)
      expect((error as Error).message).toMatch(/^worker: .*expected .*got /)
      expect(await call(runtime)).toBe(expected)
      expect(state.started).toBe(before + 1)
      expect(runtime.plan({ query: same, key: same, value: same }).totalBytes).toBe(plan)
    },
  )
})

describe('a worker whose answer Comlink cannot read', () => {
  test.each([
    ['a handler that nobody knows', { type: 'HANDLER', name: 'nobody', value: 1 }],
    ['a thrown nothing', { type: 'HANDLER', name: 'throw', value: undefined }],
    [
      'an error of its own',
      { type: 'HANDLER', name: 'throw', value: { isError: true, value: { name: 'TypeError', message: 'odd' } } },
    ],
    [
      'word that the task was cancelled',
      { type: 'HANDLER', name: 'throw', value: { isError: true, value: { name: 'TaskCancelled', message: '' } } },
    ],
  ])('%s: ProtocolError', async (_, wire) => {
    let lies = false
    const workerFactory = () =>
      new WrappedWorker((data, deliver) => deliver(lies ? { id: (data as { id: unknown }).id, ...wire } : data))
    const runtime = await createRuntime({ workers: 1, workerFactory })
    runtimes.push(runtime)
    const expected = await attend(runtime)
    lies = true
    const error: unknown = await attend(runtime).then(
      () => 'no error',
      (reason: unknown) => reason,
    )
    lies = false
    expect(error).toBeInstanceOf(ProtocolError)
    expect(await attend(runtime)).toBe(expected)
  })
})

test.each([
  ['undefined', undefined],
  ['an object without a version', {}],
  ['bytes that are NaN', NaN],
])('a worker that answers its start with %s: ProtocolError', async (_, answer) => {
  const workerFactory = () =>
    new WrappedWorker((data, deliver) => {
      const message = data as { value?: { version?: number } }
      deliver({ ...message, value: typeof answer === 'number' ? { ...message.value, residentBytes: answer } : answer })
    })
  await expect(createRuntime({ workers: 1, workerFactory })).rejects.toBeInstanceOf(ProtocolError)
})

test.each(['onChunk', 'onProgress'])(
  'what a caller’s %s throws rejects the call, and the runtime is usable after',
  async (name) => {
    const { runtime } = await lyingRuntime({})
    runtimes.push(runtime)
    const expected = await attend(runtime)
    const reason = new Error('the caller’s own')
    const options = {
      chunkSize: 10,
      [name]: () => {
        throw reason
      },
    }
    await expect(runtime.attention({ query: same, key: same, value: same }, options)).rejects.toBe(reason)
    expect(await attend(runtime)).toBe(expected)
  },
)
