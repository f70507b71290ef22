import { createRuntime, NumericError, OptionError, WorkerLostError, type Runtime } from 'heddle'
import { Adam, AdamW, clipFactor, clipGradNorm, clipGradValue, gradientNorm, SGD, type Optimizer } from 'heddle/train'
import type { Parameter } from 'heddle/nn'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { turns, withRuntime, WorkerCrew } from '../../support/runtimes.ts'
import { fingerprint } from '../../support/tensors.ts'
import { manyGradients, manyParameters } from '../support/many-elements.ts'
import { strayLane } from '../support/stray-lane.ts'

type Parameters = Map<string, Parameter>
type Make = (parameters: Parameters) => Optimizer

const MAKERS: readonly (readonly [string, Make])[] = [
  ['SGD', (p) => new SGD(p, { learningRate: 0.1, weightDecay: 0.01 })],
  ['SGD with momentum', (p) => new SGD(p, { learningRate: 0.1, momentum: 0.9 })],
  ['SGD with Nesterov', (p) => new SGD(p, { learningRate: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.1 })],
  ['Adam', (p) => new Adam(p, { learningRate: 0.01, weightDecay: 0.1 })],
  ['AdamW', (p) => new AdamW(p, { learningRate: 0.01 })],
  [
    'AdamW in groups',
    (p) =>
      new AdamW(p, {
        learningRate: 0.01,
        groups: [{ match: (name) => name === 'c', weightDecay: 0, betas: [0.5, 0.9], learningRate: 0.1 }],
      }),
  ],
]

const bitsOf = (parameters: Parameters, optimizer: Optimizer): string[] => [
  ...[...parameters].map(([name, { data }]) => `${name} ${fingerprint(data)}`),
  ...Object.entries(optimizer.stateDict()).map(([name, { data }]) => `${name} ${fingerprint(data)}`),
]

/** Two steps, and where they ran. */
async function updated(
  make: Make,
  { runtime, shared = true }: { readonly runtime?: Runtime; readonly shared?: boolean } = {},
): Promise<{ readonly bits: string[]; readonly threads: string[]; readonly lanes: number }> {
  const parameters = manyParameters()
  const optimizer = make(parameters)
  const reports = []
  for (const step of [0, 1])
    reports.push(
      await optimizer.step(manyGradients(step, shared), {
        gradientScale: 0.7,
        learningRate: (base) => base / (step + 1),
        ...(runtime === undefined ? {} : { runtime }),
      }),
    )
  const threads = reports.map(({ thread }) => thread)
  return { bits: bitsOf(parameters, optimizer), threads, lanes: Math.max(...reports.map(({ lanes }) => lanes.length)) }
}

describe('an update on the lanes', () => {
  const runtimes = new Map<number, Runtime>()
  beforeAll(async () => {
    for (const workers of [0, 1, 2, 4]) runtimes.set(workers, await createRuntime({ workers, backend: 'wasm' }))
  })
  afterAll(async () => {
    for (const runtime of runtimes.values()) await runtime.close()
  })
  const on = (workers: number): Runtime => {
    const runtime = runtimes.get(workers)
    if (runtime === undefined) throw new Error(`no runtime of ${workers} workers`)
    return runtime
  }

  it.each(MAKERS)('%s: the bits of the calling thread, for any number of workers', async (_, make) => {
    const expected = await updated(make)
    expect(expected.threads).toEqual(['caller', 'caller'])
    for (const workers of [0, 1, 2, 4]) {
      const { bits, threads } = await updated(make, { runtime: on(workers) })
      expect(bits, `${workers} workers`).toEqual(expected.bits)
      const thread = workers === 0 ? 'caller' : 'worker'
      expect(threads).toEqual([thread, thread])
    }
    const plain = await updated(make, { runtime: on(2), shared: false })
    expect(plain).toMatchObject({ bits: expected.bits, threads: ['worker', 'worker'] })
  })

  it('keeps to the calling thread where lanes share no memory with it, or the model is small', async () => {
    const [, make] = MAKERS[4] ?? MAKERS[0]!
    const { bits } = await updated(make)
    await withRuntime({ workers: 2, sharedMemory: 'never' }, async (runtime) => {
      expect(await updated(make, { runtime })).toMatchObject({ bits, threads: ['caller', 'caller'], lanes: 0 })
    })
    const few = new Map([...manyParameters()].filter(([name]) => name !== 'a'))
    const gradients = new Map([...manyGradients(0, true)].filter(([name]) => name !== 'a'))
    expect(await make(few).step(gradients, { runtime: on(2) })).toMatchObject({ thread: 'caller', lanes: [] })
  })

  it('is that of each element by itself, at the ends of blocks too', async () => {
    const parameters = manyParameters()
    const start = parameters.get('a')?.data.slice() ?? new Float32Array()
    const gradients = manyGradients(0, true)
    await new AdamW(parameters, { learningRate: 0.01 }).step(gradients, { runtime: on(2) })
    const alone = new Map([...manyParameters()].filter(([name]) => name === 'b'))
    for (const place of [0, 131_070, 131_071, 131_072, 655_360, 699_998]) {
      const few = alone.get('b')
      few?.data.set(start.subarray(place, place + 3))
      const data = gradients.get('a')?.data.slice(place, place + 3) ?? new Float32Array()
      await new AdamW(alone, { learningRate: 0.01 }).step(new Map([['b', { data, shape: [3] }]]))
      expect(parameters.get('a')?.data.slice(place, place + 3)).toEqual(few?.data.slice())
    }
  })

  it('with a clipping factor has the bits of clipping in place, by norm and by value', async () => {
    const results = await Promise.all(
      [undefined, on(2)].map(async (runtime) => {
        const where = runtime === undefined ? {} : { runtime }
        const [scaled, clipped, clamped] = [manyParameters(), manyParameters(), manyParameters()]
        const factor = clipFactor(await gradientNorm(manyGradients(0, true), where), 0.5)
        expect(factor).toBeLessThan(1)
        const inPlace = manyGradients(0, true)
        await clipGradNorm(inPlace, 0.5, where)
        const byValue = manyGradients(0, true)
        await clipGradValue(byValue, 1e-3)
        await new Adam(scaled).step(manyGradients(0, true), { ...where, gradientScale: factor })
        await new Adam(clipped).step(inPlace, where)
        await new Adam(clamped).step(byValue, where)
        return [scaled, clipped, clamped].map((each) => [...each.values()].map(({ data }) => fingerprint(data)))
      }),
    )
    expect(results[1]).toEqual(results[0])
    expect(results[0]?.[0]).toEqual(results[0]?.[1])
    expect(results[0]?.[2]).not.toEqual(results[0]?.[1])
  })

  it('names what is not finite, and changes nothing', async () => {
    const [, make] = MAKERS[4] ?? MAKERS[0]!
    const parameters = manyParameters()
    const optimizer = make(parameters)
    await optimizer.step(manyGradients(0, true), { runtime: on(2) })
    const before = bitsOf(parameters, optimizer)
    const gradients = manyGradients(1, true)
    const data = gradients.get('c')?.data
    data?.fill(NaN, 399_999)
    const error: unknown = await optimizer.step(gradients, { runtime: on(2) }).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(NumericError)
    expect((error as Error).message).toBe('AdamW: step: expected finite gradients, got NaN at element 399999 of c')
    expect(bitsOf(parameters, optimizer)).toEqual(before)
    data?.fill(3e38, 399_999)
    await expect(optimizer.step(gradients, { runtime: on(2), learningRate: 1e39 })).rejects.toThrow(
      'AdamW: step: expected a to stay finite, but the update leads beyond float32',
    )
    expect(bitsOf(parameters, optimizer)).toEqual(before)
  })

  it('hears an abort, and then nothing has changed', async () => {
    const [, make] = MAKERS[4] ?? MAKERS[0]!
    const parameters = manyParameters()
    const optimizer = make(parameters)
    const controller = new AbortController()
    const step = optimizer.step(manyGradients(0, true), { runtime: on(2), signal: controller.signal })
    await turns(1)
    controller.abort(new Error('enough'))
    await expect(step).rejects.toThrow('enough')
    expect(optimizer.stateDict()).toEqual({})
    for (const step of [0, 1])
      await optimizer.step(manyGradients(step, true), {
        gradientScale: 0.7,
        learningRate: (base) => base / (step + 1),
        runtime: on(2),
      })
    expect(bitsOf(parameters, optimizer)).toEqual((await updated(make)).bits)
  })

  it.each([
    [{ runtime: {} as Runtime }, 'option runtime: expected a runtime made by createRuntime'],
    [{ gradientScale: -1 }, 'option gradientScale: expected a number ≥ 0, got number -1'],
    [{ gradientScale: NaN }, 'option gradientScale: expected a finite number, got number NaN'],
  ])('refuses %o', async (options, message) => {
    const error: unknown = await MAKERS[0]?.[1](manyParameters())
      .step(manyGradients(0, true), options)
      .catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(OptionError)
    expect((error as Error).message).toContain(message)
  })
})

describe('a worker that is lost in the middle of an update', () => {
  const [, make] = MAKERS[4] ?? MAKERS[0]!

  it('leaves the bits as they are: others do its part', async () => {
    const { bits } = await updated(make)
    let retries = 0
    for (let run = 0; run < 6; run++) {
      const crew = new WorkerCrew()
      await withRuntime({ workers: 2, workerFactory: crew.workerFactory, backend: 'wasm' }, async (runtime) => {
        const parameters = manyParameters()
        const optimizer = make(parameters)
        for (const step of [0, 1]) {
          const pending = optimizer.step(manyGradients(step, true), {
            gradientScale: 0.7,
            learningRate: (base) => base / (step + 1),
            runtime,
          })
          await turns(run)
          void crew.alive[run % 2]?.terminate()
          retries += (await pending).retries
        }
        expect(bitsOf(parameters, optimizer), `run ${run}`).toEqual(bits)
      })
      await crew.allExited()
    }
    // A test in which no death ever hit an update would prove nothing.
    expect(retries).toBeGreaterThan(0)
  })

  it.each(['lost', 'failed'] as const)('may go on writing where its part was %s: nobody reads it', async (how) => {
    const stray = strayLane(() => {
      if (how === 'failed') throw new WorkerLostError('three tries')
      return { lanes: [], fallbacks: [], retries: 1 }
    })
    const run = async (runtime?: Runtime): Promise<string[]> => {
      const parameters = manyParameters()
      // With a decay that is added to gradients: the moments depend on the parameters, which change under the lane.
      const optimizer = new Adam(parameters, { learningRate: 0.01, weightDecay: 0.1 })
      await optimizer.step(manyGradients(0, true))
      if (runtime !== undefined) {
        const pending = optimizer.step(manyGradients(1, true), { runtime })
        if (how === 'failed') await expect(pending).rejects.toThrow('three tries')
        else await pending
      }
      if (runtime === undefined || how === 'failed') await optimizer.step(manyGradients(1, true))
      if (runtime !== undefined) await stray.work()
      await optimizer.step(manyGradients(2, true))
      if (runtime !== undefined) await stray.work()
      return bitsOf(parameters, optimizer)
    }
    expect(await run(stray.runtime)).toEqual(await run())
  })
})
