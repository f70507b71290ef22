import type * as Heddle from 'heddle'
import type * as HeddleNn from 'heddle/nn'
import { onnxBlock, tfjsBlock, type BlockContender, type BlockProblem, type Modules } from './block-peers.ts'

/** Who runs the block, and how often. */
export interface BlockBench {
  readonly contender: 'heddle' | 'onnxruntime-web' | 'tfjs-wasm'
  /** workers of Heddle, threads of a peer */
  readonly threads: number
  readonly tokens: number
  readonly rounds: number
}

export interface BlockTimes {
  readonly flops: number
  /** milliseconds of each timed pass */
  readonly times: readonly number[]
  /** of each, milliseconds in which the busiest lane did not work: Heddle alone tells */
  readonly overheads: readonly number[]
  /** the same for passes through a stack of blocks with its input in shared memory, a block; none for long inputs */
  readonly stackOverheads: readonly number[]
}

const TOLERANCE = 1e-4
const WARM_ROUNDS = 6
const SIZES = { modelDim: 512, heads: 8, feedForwardDim: 2048 }
const STACK = 6
/** Past that the kernels take seconds, and what stands beside them is noise. */
const LONGEST_STACK_TOKENS = 512

/**
 * A post-norm block (E 512, 8 heads, feed-forward 2048) at batch 1, as one contender runs it. Its answer is held
 * against Heddle's on the calling thread, which tests hold against PyTorch, before anything is timed.
 *
 * @throws when the answers differ
 */
export async function measureBlock(bench: BlockBench, modules: Modules): Promise<BlockTimes> {
  const { createRuntime } = (await modules.load('heddle')) as typeof Heddle
  const { TransformerBlock, TransformerEncoder } = (await modules.load('heddle/nn')) as typeof HeddleNn
  const block = new TransformerBlock(SIZES)
  const data = Float32Array.from(
    { length: bench.tokens * SIZES.modelDim },
    (_, index) => 1.7 * Math.sin(index * 12.9898 + (index % 97)),
  )
  const problem: BlockProblem = {
    ...SIZES,
    state: block.stateDict(),
    input: { data, shape: [1, bench.tokens, SIZES.modelDim] },
  }
  const caller = await createRuntime({ workers: 0, backend: 'wasm' })
  const { flops } = block.plan(caller, problem.input.shape)
  const expected = (await block.forward(problem.input, { runtime: caller })).output.data
  await caller.close()
  const contender = await prepare(bench, modules, problem, {
    createRuntime,
    block,
    makeStack: () => new TransformerEncoder({ ...SIZES, layers: STACK }),
  })
  checkAnswer(bench.contender, await contender.run(), expected)
  const times: number[] = []
  const overheads: number[] = []
  for (let round = 0; round < bench.rounds + WARM_ROUNDS; round++) {
    const start = performance.now()
    await contender.run()
    if (round < WARM_ROUNDS) continue
    times.push(performance.now() - start)
    const busyMs = contender.busyMs?.()
    if (busyMs !== undefined) overheads.push((times.at(-1) ?? NaN) - busyMs)
  }
  const stackOverheads =
    (await contender.stackOverheads?.(bench.tokens <= LONGEST_STACK_TOKENS ? bench.rounds : 0)) ?? []
  await contender.close()
  return { flops, times, overheads, stackOverheads }
}

interface Own {
  readonly createRuntime: typeof Heddle.createRuntime
  readonly block: HeddleNn.TransformerBlock
  readonly makeStack: () => HeddleNn.TransformerEncoder
}

async function prepare(
  { contender, threads }: BlockBench,
  modules: Modules,
  problem: BlockProblem,
  { createRuntime, block, makeStack }: Own,
): Promise<BlockContender> {
  if (contender === 'onnxruntime-web') return onnxBlock(modules, problem, threads)
  if (contender === 'tfjs-wasm') return tfjsBlock(modules, problem, threads)
  const runtime = await createRuntime({ workers: threads, backend: 'wasm' })
  let busyMs = 0
  const run = async (): Promise<Float32Array> => {
    const { output, report } = await block.forward(problem.input, { runtime })
    busyMs = busiestMs(report)
    return output.data
  }
  const stackOverheads = async (rounds: number): Promise<number[]> => {
    if (rounds === 0) return []
    const stack = makeStack()
    const { data, shape } = problem.input
    const input = runtime.tensor(shape)
    input.data.set(data)
    const overheads: number[] = []
    for (let round = 0; round < rounds + WARM_ROUNDS; round++) {
      const start = performance.now()
      const { report } = await stack.forward(input, { runtime })
      if (round >= WARM_ROUNDS) overheads.push((performance.now() - start - busiestMs(report)) / STACK)
    }
    return overheads
  }
  return { run, busyMs: () => busyMs, stackOverheads, close: () => runtime.close() }
}

function busiestMs({ lanes }: HeddleNn.LayerReport): number {
  return Math.max(...lanes.map((lane) => lane.busyMs))
}

function checkAnswer(name: string, output: Float32Array, expected: Float32Array): void {
  const worst = output.reduce((most, value, index) => Math.max(most, Math.abs(value - (expected[index] ?? NaN))), 0)
  if (!(worst < TOLERANCE)) throw new Error(`${name}: the answer differs by ${worst}`)
}
