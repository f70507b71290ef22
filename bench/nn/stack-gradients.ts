import type * as Heddle from 'heddle'
import { TransformerEncoder } from '../../src/nn/layers/transformer-encoder.ts'
import { gradientProgram, type ForwardGraph } from '../../src/program/gradient-program.ts'
import type { ProgramRuntime } from '../../src/program/host.ts'
import type { Kept } from '../../src/program/kept.ts'
import { partition } from '../../src/program/partition.ts'
import { runProgram, type ProgramResult } from '../../src/program/run.ts'
import { spreadOf } from '../../src/cli/bench/spread.ts'

/** How the gradients of a stack of blocks compare with its forward pass. */
export interface GradientBench {
  readonly tokens: number
  readonly workers: number
  readonly rounds: number
  readonly norm: 'pre' | 'post'
  readonly blocks: number
}

export interface GradientTimes {
  readonly forwardMs: number
  /** forward and backward, by what is kept of the forward pass */
  readonly kept: Readonly<
    Record<
      'products' | 'nothing',
      {
        readonly ms: number
        readonly ratio: number
        readonly flopRatio: number
        readonly gigaflops: number
        readonly stages: number
      }
    >
  >
}

const SIZES = { modelDim: 512, heads: 8, feedForwardDim: 2048, activation: 'gelu' } as const
const WARM_ROUNDS = 3
/** Of the slope along a direction, from differences of float32 sums. */
const TOLERANCE = 2e-2

type Run = () => Promise<ProgramResult>

/**
 * Times a stack of blocks (E 512, 8 heads, feed-forward 2048) at batch 1: forward, and forward with backward, which
 * keeps products or computes them again; in turns, with the graph and the plan made anew in each. Its programs come
 * from the sources, so that what is kept can be chosen; they run on the shipped kernels.
 *
 * @throws when the two ways differ in a bit, or dInput is not the slope of the forward pass
 */
export async function measureGradients(
  { tokens, workers, rounds, norm, blocks }: GradientBench,
  { createRuntime }: typeof Heddle,
): Promise<GradientTimes> {
  const runtime = await createRuntime({ workers, backend: 'wasm' })
  const host = runtime as unknown as ProgramRuntime
  const stack = new TransformerEncoder({ ...SIZES, norm, layers: blocks, finalNorm: false })
  const tensor = (seed: number): Float32Array => {
    const { data } = runtime.tensor([1, tokens, SIZES.modelDim])
    data.forEach((_, index) => (data[index] = Math.sin(index * 12.9898 + (index % (97 + seed)) + seed)))
    return data
  }
  const [input, dOutput, direction] = [tensor(1), tensor(2), tensor(3)]
  const forward = (data: Float32Array = input): Promise<ProgramResult> =>
    run(() => {
      const { graph, output } = build(stack, tokens, data, false)
      return partition(graph, [output])
    })
  const backward = (keeps: Kept) => (): Promise<ProgramResult> =>
    run(
      () =>
        gradientProgram(() => gradientGraph(stack, tokens, input, dOutput), host, { chunkSize: undefined, keeps })
          .program,
    )
  const run = (program: () => Parameters<typeof runProgram>[0]): Promise<ProgramResult> =>
    runProgram(program(), host, { signal: undefined, chunkSize: undefined, sharedOutput: true })
  const ways = { forward: () => forward(), products: backward('products'), nothing: backward('nothing') }
  check(await ways.products(), await ways.nothing())
  await checkSlope(
    (await ways.products()).data[0] as Float32Array,
    { input, dOutput, direction },
    async (data) => (await forward(data)).data[0] as Float32Array,
  )
  const times = await inTurns(ways, rounds)
  await runtime.close()
  return times
}

function build(stack: TransformerEncoder, tokens: number, data: Float32Array, forGradients: boolean) {
  const graph = stack.newGraph({ forGradients })
  const input = graph.input('input', { batch: 1, rows: tokens, width: SIZES.modelDim }, data)
  return { graph, input, output: stack.build(graph, input) }
}

function gradientGraph(
  stack: TransformerEncoder,
  tokens: number,
  data: Float32Array,
  dOutput: Float32Array,
): ForwardGraph {
  const { graph, input, output } = build(stack, tokens, data, true)
  const seeds = new Map([[output, graph.input('output gradient', output, dOutput)]])
  return { graph, seeds, losses: [], inputs: [input], parameters: new Set(stack.parameters()) }
}

/** Milliseconds of each way, one after the other and back again. */
async function inTurns(ways: Record<'forward' | 'products' | 'nothing', Run>, rounds: number): Promise<GradientTimes> {
  const names = ['forward', 'products', 'nothing'] as const
  const times = { forward: [] as number[], products: [] as number[], nothing: [] as number[] }
  const plans = new Map<string, { readonly flops: number; readonly stages: number }>()
  for (let round = 0; round < rounds + WARM_ROUNDS; round++) {
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      const start = performance.now()
      const { report } = await ways[name]()
      if (round >= WARM_ROUNDS) times[name].push(performance.now() - start)
      plans.set(name, report.plan)
    }
  }
  const forwardMs = spreadOf(times.forward).medianMs
  const kept = (name: 'products' | 'nothing') => {
    const { flops = 0, stages = 0 } = plans.get(name) ?? {}
    const ms = spreadOf(times[name]).medianMs
    // The median of ratios: what slows a round down slows both of its sides.
    const ratio = spreadOf(times[name].map((each, round) => each / (times.forward[round] ?? NaN))).medianMs
    return { ms, ratio, flopRatio: flops / (plans.get('forward')?.flops ?? NaN), gigaflops: flops / ms / 1e6, stages }
  }
  return { forwardMs, kept: { products: kept('products'), nothing: kept('nothing') } }
}

function check(one: ProgramResult, other: ProgramResult): void {
  const same = one.data.every((data, index) => data.every((value, at) => value === other.data[index]?.[at]))
  if (!same) throw new Error('stack: gradients that were computed again differ from those of what was kept')
}

async function checkSlope(
  dInput: Float32Array,
  { input, dOutput, direction }: Record<'input' | 'dOutput' | 'direction', Float32Array>,
  forward: (data: Float32Array) => Promise<Float32Array>,
): Promise<void> {
  const step = 1e-3
  const weighted = async (sign: number): Promise<number> =>
    (await forward(input.map((value, at) => value + sign * step * (direction[at] ?? 0)))).reduce(
      (sum, value, at) => sum + value * (dOutput[at] ?? 0),
      0,
    )
  const slope = ((await weighted(1)) - (await weighted(-1))) / (2 * step)
  const expected = dInput.reduce((sum, value, at) => sum + value * (direction[at] ?? 0), 0)
  const size = Math.sqrt(dInput.reduce((sum, value) => sum + value * value, 0))
  if (!(Math.abs(slope - expected) <= TOLERANCE * Math.max(Math.abs(expected), size)))
    throw new Error(`stack: expected a slope of ${expected}, got ${slope}`)
}
