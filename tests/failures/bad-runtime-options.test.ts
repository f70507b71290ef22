import { createRuntime, HeddleError, type RuntimeOptions } from 'heddle'
import { expect, test } from 'vitest'
import { withRuntime, WorkerCrew } from '../support/runtimes.ts'
import { normalTensor } from '../support/tensors.ts'
import { Random } from '../support/random.ts'

const wrong: readonly (readonly [string, object, string])[] = [
  ['an unknown name', { worker: 2 }, 'OptionError'],
  ['workers: −1', { workers: -1 }, 'OptionError'],
  ['workers: 257', { workers: 257 }, 'OptionError'],
  ['workers: 1.5', { workers: 1.5 }, 'OptionError'],
  ['workers: NaN', { workers: NaN }, 'OptionError'],
  ['workers: "many"', { workers: 'many' }, 'OptionError'],
  ['workers: null', { workers: null }, 'OptionError'],
  ['backend: "cuda"', { backend: 'cuda' }, 'OptionError'],
  ['backend with an unknown kind', { backend: { cuda: 1 } }, 'OptionError'],
  ['backend without lanes', { backend: { wasm: 0, webgpu: 0 } }, 'OptionError'],
  ['backend with 0.5 lanes', { backend: { wasm: 0.5 } }, 'OptionError'],
  ['numerics: "exact"', { numerics: 'exact' }, 'OptionError'],
  ['memoryBudgetBytes: −1', { memoryBudgetBytes: -1 }, 'OptionError'],
  ['memoryBudgetBytes: NaN', { memoryBudgetBytes: NaN }, 'OptionError'],
  ['memoryBudgetBytes: "1 GB"', { memoryBudgetBytes: '1 GB' }, 'OptionError'],
  ['workerFactory: a string', { workerFactory: './worker.js' }, 'OptionError'],
  ['workerUrl: a number', { workerUrl: 5 }, 'OptionError'],
  ['wasm with an unknown name', { wasm: { fast: new Uint8Array(8) } }, 'OptionError'],
  ['wasm that is no binary', { wasm: { simd: 'AGFzbQ' } }, 'OptionError'],
  ['wasm that does not compile', { wasm: { simd: new Uint8Array([1, 2, 3]) } }, 'BackendUnavailableError'],
  ['webgpu with an unknown name', { webgpu: { half: true } }, 'OptionError'],
  ['webgpu.storage: "float8"', { webgpu: { storage: 'float8' } }, 'OptionError'],
  ['webgpu.tile: "huge"', { webgpu: { tile: 'huge' } }, 'OptionError'],
  ['null', null as never, 'OptionError'],
]

test.each(wrong)('%s', async (_, options, code) => {
  const crew = new WorkerCrew()
  const watched =
    options !== null && !('workerFactory' in options) ? { ...options, workerFactory: crew.workerFactory } : options
  const error: unknown = await createRuntime(watched as RuntimeOptions).then(
    (runtime) => runtime.close(),
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(HeddleError)
  expect(error).toMatchObject({ code })
  expect((error as Error).message).toMatch(/expected /)
  expect(crew.workers).toEqual([])
})

test.each([
  ['a worker file that is missing', { workerUrl: new URL('./no-such-worker.js', import.meta.url) }],
  ['a worker file with a syntax error', { workerUrl: 'data:text/javascript,this is no program' }],
  ['a worker that ends at once', { workerUrl: 'data:text/javascript,process.exit(3)' }],
  [
    'a factory that throws',
    {
      workerFactory: () => {
        throw new Error('no workers today')
      },
    },
  ],
] as const)('%s is a BackendUnavailableError, and a second try may succeed', async (_, options) => {
  const error: unknown = await createRuntime({ workers: 2, ...options }).then(
    (runtime) => runtime.close(),
    (reason: unknown) => reason,
  )
  expect(error).toMatchObject({ code: 'BackendUnavailableError' })
  const same = normalTensor(new Random(211), [5, 4])
  await withRuntime({ workers: 2 }, async (runtime) => {
    expect((await runtime.attention({ query: same, key: same, value: same })).output.shape).toEqual([5, 4])
  })
})

test('a factory that returns no worker is a typed error', async () => {
  await expect(createRuntime({ workers: 1, workerFactory: (() => ({})) as never })).rejects.toBeInstanceOf(HeddleError)
})
