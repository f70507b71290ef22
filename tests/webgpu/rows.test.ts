import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createWebGpuBackend, type WebGpuBackend } from '../../src/backends/webgpu/engine.ts'
import { NonFiniteInput } from '../../src/backends/webgpu/signals.ts'
import { CONTEXT_ARRAY, type RowStageTask, type RowStep } from '../../src/protocol/stage.ts'
import type { TaskArray } from '../../src/protocol/task.ts'
import { exactActivations, finiteRange } from '../support/activations.ts'
import { webgpuTolerance } from '../support/error-rule.ts'
import { attentionReference } from '../support/oracle.ts'
import { normalise } from '../support/problem.ts'
import { Random } from '../support/random.ts'
import { normalTensor } from '../support/tensors.ts'
import { skipReason, testGpu } from './support/software-gpu.ts'
import { INPUT, StageOf } from './support/stage-of.ts'
import { stageReference } from './support/stage-reference.ts'
import { arraysOf, contextOf, taskOf } from './support/tasks.ts'

const found = await testGpu()

describe.skipIf(skipReason(found) !== undefined)('row-wise stages in WGSL', { timeout: 60_000 }, () => {
  let backend: WebGpuBackend

  beforeAll(async () => {
    backend = await createWebGpuBackend(found.gpu)
  })

  afterAll(() => backend.dispose())

  const run = (task: RowStageTask, arrays: ReadonlyMap<number, TaskArray>, on = backend) =>
    on.rows?.(task, contextOf(arrays)) ?? Promise.reject(new Error('no rows'))

  async function expectReference(
    task: RowStageTask,
    arrays: ReadonlyMap<number, TaskArray>,
    on = backend,
  ): Promise<void> {
    const { stored } = await run(task, arrays, on)
    const expected = stageReference(task, (id) => arrays.get(id) as TaskArray)
    expect(stored).toHaveLength(expected.length)
    stored.forEach((rows, at) => expect(rows).toMatchOracle(referenceOf(expected[at] as number[]), webgpuTolerance))
  }

  // Inputs and outputs that are equal to, multiples of, below and above the tile and the vector.
  test.each([
    [1, 1, 1],
    [5, 3, 7],
    [32, 32, 32],
    [33, 31, 65],
    [70, 64, 96],
    [40, 129, 34],
  ])('linear: %i rows, %i → %i', async (rows, from, to) => {
    const stage = new StageOf(rows, [from, to])
    await expectReference(stage.task([stage.load(0), stage.linear(0, 1, true), stage.store(1)]), stage.arrays)
    await expectReference(stage.task([stage.load(0), stage.linear(0, 1, false), stage.store(1)]), stage.arrays)
  })

  test.each([1, 6, 64, 65, 300])('layer norm over %i, far from zero', async (width) => {
    const stage = new StageOf(9, [width, width])
    ;(stage.arrays.get(INPUT) as Float32Array).forEach((value, at, all) => (all[at] = value + (width > 1 ? 30 : 0)))
    await expectReference(stage.task([stage.load(0), stage.norm(0, 1), stage.store(1)]), stage.arrays)
    await expectReference(stage.task([stage.load(0), stage.norm(0, 1, false), stage.store(1)]), stage.arrays)
  })

  test.each([1, 6, 64, 65, 300])('RMS norm over %i, near zero and far from it', async (width) => {
    for (const [factor, shift] of [
      [1, 30],
      [1e-3, 0],
    ] as const) {
      const stage = new StageOf(9, [width, width])
      ;(stage.arrays.get(INPUT) as Float32Array).forEach((value, at, all) => (all[at] = factor * value + shift))
      await expectReference(stage.task([stage.load(0), stage.rmsNorm(0, 1), stage.store(1)]), stage.arrays)
    }
  })

  test.each([
    [3, 2],
    [7, 5],
    [64, 3],
    [65, 2],
    [128, 2],
  ])('RMS norm of each head, D %i, H %i, with a weight and without', async (headSize, heads) => {
    for (const weighted of [true, false]) {
      const width = heads * headSize
      const stage = new StageOf(9, [width, width, width])
      const steps = [stage.load(0), stage.rmsNormHeads(0, 1, headSize, weighted), stage.store(1)]
      await expectReference(stage.task(steps), stage.arrays)
    }
  })

  test.each([1, 7, 64, 257])('%i columns times a factor', async (width) => {
    const stage = new StageOf(9, [width])
    const scale: RowStep = { op: 'scale', register: 0, factor: -2.5 }
    await expectReference(stage.task([stage.load(0), scale, stage.store(0)]), stage.arrays)
  })

  test('a gated unit behind its norm', async () => {
    const stage = new StageOf(70, [22, 22, 37, 37, 22])
    const steps: RowStep[] = [
      stage.load(0),
      stage.rmsNorm(0, 1),
      stage.linear(1, 2, false),
      stage.linear(1, 3, false),
      { op: 'activate', register: 2, activation: 'silu' },
      { op: 'multiply', from: 3, to: 2 },
      stage.linear(2, 4, false),
      { op: 'add', from: 0, to: 4 },
      stage.store(4),
    ]
    await expectReference(stage.task(steps), stage.arrays)
  })

  describe.each(['relu', 'gelu', 'gelu-tanh', 'silu', 'tanh'] as const)('%s', (activation) => {
    const activated = async (inputs: Float32Array) => {
      const stage = new StageOf(1, [inputs.length])
      ;(stage.arrays.get(INPUT) as Float32Array).set(inputs)
      return run(stage.task([stage.load(0), { op: 'activate', register: 0, activation }, stage.store(0)]), stage.arrays)
    }

    test('over the whole range of float32', async () => {
      const inputs = finiteRange(8, 4001)
      const [values] = (await activated(inputs)).stored
      let worst = { x: 0, share: 0, is: 0, should: 0 }
      ;(values as Float32Array).forEach((is, at) => {
        const x = inputs[at] as number
        const should = exactActivations[activation](x)
        // WGSL's exp may err by 3 + 2·|argument| units in the last place, up to 177 here, and h² has two of them. A
        // device may take numbers that are not normal for 0.
        const share = Math.abs(is - should) / (4e-5 * Math.abs(should) + 2 ** -126)
        if (!(share <= worst.share)) worst = { x, share, is, should }
        // SiLU is the only one that is far from 0 there.
        if (Math.abs(x) > 20 && !(activation === 'silu' && x < 0)) expect(is - Math.fround(should)).toBe(0)
        if (activation === 'relu') expect(Math.abs(is - should)).toBeLessThanOrEqual(2 ** -126)
      })
      expect(worst.share, JSON.stringify(worst)).toBeLessThanOrEqual(1)
    })

    test.each([NaN, Infinity])('hands %f back for wasm to compute', async (value) => {
      await expect(activated(Float32Array.of(1, value, -1))).rejects.toThrow(NonFiniteInput)
    })
  })

  test('dropout keeps what the counter says, whatever the chunk', async () => {
    const dropout = { threshold: Math.floor(0.4 * 2 ** 32), keepScale: 1 / 0.6, seedLow: 99, seedHigh: 3, site: 2 }
    const stage = new StageOf(10, [22])
    await expectReference(
      {
        ...stage.task([stage.load(0), { op: 'drop', register: 0, dropout }, stage.store(0)]),
        batch: 3,
        rowStart: 1000,
      },
      stage.arrays,
    )
    // 1/(1 − 1): whatever the scale, nothing is kept.
    const all = { ...dropout, threshold: 2 ** 32, keepScale: Infinity }
    await expectReference(
      stage.task([stage.load(0), { op: 'drop', register: 0, dropout: all }, stage.store(0)]),
      stage.arrays,
    )
  })

  test('rotary positions on three heads, and stores by head', async () => {
    const stage = new StageOf(11, [30])
    const table = stage.attach(Float32Array.from({ length: 110 }, (_, at) => Math.sin(at)))
    const rotate: RowStep = {
      op: 'rotate',
      register: 0,
      headSize: 10,
      turned: 10,
      table: { array: table, offset: 0, rowStride: 10 },
    }
    await expectReference(
      stage.task([stage.load(0), rotate, { op: 'store-heads', from: 0, heads: 3, to: 'returned' }]),
      stage.arrays,
    )
  })

  test('rotary positions on a part of each head', async () => {
    const stage = new StageOf(11, [30])
    const table = stage.attach(Float32Array.from({ length: 66 }, (_, at) => Math.sin(at)))
    const rotate: RowStep = {
      op: 'rotate',
      register: 0,
      headSize: 10,
      turned: 6,
      table: { array: table, offset: 0, rowStride: 6 },
    }
    await expectReference(stage.task([stage.load(0), rotate, stage.store(0)]), stage.arrays)
  })

  test('embedding rows, scaled', async () => {
    const stage = new StageOf(6, [13])
    const tokens = stage.attach(Int32Array.of(4, 0, 2, 4, 1, 3))
    const table = stage.attach(normalTensor(new Random(4), [5, 13]).data)
    const step: RowStep = {
      op: 'embed',
      to: 0,
      tokens: { array: tokens, offset: 0, rowStride: 1 },
      table: { array: table, offset: 0, rowStride: 13 },
      scale: 2.5,
    }
    await expectReference(stage.task([step, stage.store(0)]), stage.arrays)
  })

  test('a feed-forward block with residual and norm, cut into blocks of rows and weights into parts', async () => {
    const bytes = 8192
    const small = await createWebGpuBackend(found.gpu, {
      limits: { maxBufferSize: bytes, maxStorageBufferBindingSize: bytes },
    })
    const stage = new StageOf(150, [20, 90, 20])
    const steps = [
      stage.load(0),
      stage.linear(0, 1, true),
      { op: 'activate', register: 1, activation: 'gelu' } as const,
      stage.linear(1, 2, true),
      { op: 'add', from: 0, to: 2 } as const,
      stage.norm(2, 2),
      stage.store(2),
    ]
    await expectReference(stage.task(steps), stage.arrays, small)
    small.dispose()
  })

  test('attention of every head, then a projection of the context', async () => {
    const random = new Random(5)
    const inputs = {
      query: normalTensor(random, [1, 2, 40, 8]),
      key: normalTensor(random, [1, 2, 40, 8]),
      value: normalTensor(random, [1, 2, 40, 8]),
    }
    const problem = normalise(inputs, { causal: true })
    const stage = new StageOf(40, [16, 5])
    const arrays = new Map([...stage.arrays].map(([id, array]) => [id + 100, array] as const))
    arraysOf(problem).forEach((array, id) => arrays.set(id, array))
    const tasks = [0, 1].map((h) => {
      const { output, logSumExp, ...task } = taskOf(problem, 0, h, 0, 40, { statistics: false })
      void [output, logSumExp]
      return { ...task, output: { array: CONTEXT_ARRAY, offset: h * 8, rowStride: 16 } }
    })
    const linear = stage.linear(0, 1, false)
    const weight = stage.arrays.get(linear.weight.array) as Float32Array
    arrays.set(linear.weight.array + 100, weight)
    const steps: RowStep[] = [
      { op: 'load', to: 0, from: { array: CONTEXT_ARRAY, offset: 0, rowStride: 16 } },
      { ...linear, weight: { ...linear.weight, array: linear.weight.array + 100 } },
      stage.store(1),
    ]
    const { stored } = await run({ ...stage.task(steps), attention: { tasks, width: 16, returned: [] } }, arrays)
    const context = attentionReference({ ...inputs }, { causal: true }).output.exact
    const expected = Array.from({ length: 40 }, (_, row) =>
      Array.from({ length: 5 }, (_, o) =>
        Array.from(
          { length: 16 },
          (_, c) => (weight[o * 16 + c] as number) * (context[(Math.floor(c / 8) * 40 + row) * 8 + (c % 8)] as number),
        ).reduce((a, b) => a + b),
      ),
    ).flat()
    expect(stored[0]).toMatchOracle(referenceOf(expected), webgpuTolerance)
  })

  test('a weight is uploaded once a version, and dropped over its limit', async () => {
    const stage = new StageOf(4, [8, 16])
    const linear = stage.linear(0, 1, false)
    const task = stage.task([stage.load(0), linear, stage.store(1)])
    const idle = await createWebGpuBackend(found.gpu)
    await run(task, stage.arrays, idle)
    expect(idle.residentBytes()).toBe(16 * 8 * 4)
    const weight = stage.arrays.get(linear.weight.array) as Float32Array
    weight.fill(1)
    const stale = await run(task, stage.arrays, idle)
    const version = { ...linear, weight: { ...linear.weight, version: 2 } }
    const fresh = await run(stage.task([stage.load(0), version, stage.store(1)]), stage.arrays, idle)
    expect(stale.stored[0]).not.toEqual(fresh.stored[0])
    expect(idle.residentBytes()).toBe(16 * 8 * 4)
    const other = stage.linear(0, 1, false)
    await run({ ...stage.task([stage.load(0), other, stage.store(1)]), residentLimitBytes: 600 }, stage.arrays, idle)
    expect(idle.residentBytes()).toBe(16 * 8 * 4)
    idle.dispose()
  })

  test('NaN in an input or a weight, and an overflow on the way, are handed back for wasm to compute', async () => {
    const stage = new StageOf(4, [8, 8])
    const input = stage.arrays.get(INPUT) as Float32Array
    const task = stage.task([stage.load(0), stage.linear(0, 1, false), stage.store(1)])
    input[3] = NaN
    await expect(run(task, stage.arrays)).rejects.toThrow(NonFiniteInput)
    input[3] = 3e38
    const doubling = stage.task([stage.load(0), { op: 'add', from: 0, to: 1 }, stage.store(1)])
    await expect(
      run({ ...doubling, steps: [stage.load(0), stage.load(1), ...doubling.steps.slice(1)] }, stage.arrays),
    ).rejects.toThrow(NonFiniteInput)
    input[3] = 0
    const poisoned = stage.linear(0, 1, false)
    ;(stage.arrays.get(poisoned.weight.array) as Float32Array)[0] = Infinity
    await expect(run(stage.task([stage.load(0), poisoned, stage.store(1)]), stage.arrays)).rejects.toThrow(
      NonFiniteInput,
    )
  })
})

function referenceOf(values: readonly number[]) {
  const exact = Float64Array.from(values)
  return { exact, plain: exact, shape: [exact.length] }
}
