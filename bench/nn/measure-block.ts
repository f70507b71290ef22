import type * as Heddle from 'heddle'
import type * as HeddleNn from 'heddle/nn'
import { spreadOf, type Spread } from '../attention/spread.ts'
import { onnxBlock, tfjsBlock, type BlockContender, type BlockProblem, type Modules } from './block-peers.ts'

/** Who runs the block beside whom. */
export interface BlockBench {
  readonly tokens: number
  readonly rounds: number
  /** worker counts, one contender each */
  readonly workers: readonly number[]
  /** threads of onnxruntime-web; 0: it is not there */
  readonly threads: number
  readonly tfjs: boolean
}

export interface BlockRow {
  readonly contender: string
  readonly tokens: number
  readonly flops: number
  readonly spread: Spread
}

const TOLERANCE = 1e-4
const WARM_ROUNDS = 4
const SIZES = { modelDim: 512, heads: 8, feedForwardDim: 2048 }

/**
 * A post-norm block (E 512, 8 heads, feed-forward 2048) at batch 1 beside the same block on peers: answers compared first,
 * then interleaved rounds.
 *
 * @throws when two answers differ
 */
export async function measureBlock(bench: BlockBench, modules: Modules): Promise<BlockRow[]> {
  const { createRuntime } = (await modules.load('heddle')) as typeof Heddle
  const { TransformerBlock } = (await modules.load('heddle/nn')) as typeof HeddleNn
  const block = new TransformerBlock(SIZES)
  const data = Float32Array.from({ length: bench.tokens * SIZES.modelDim }, (_, index) => 1.7 * Math.sin(index * 12.9898 + (index % 97)))
  const problem: BlockProblem = { ...SIZES, state: block.stateDict(), input: { data, shape: [1, bench.tokens, SIZES.modelDim] } }
  const runtimes = await Promise.all(bench.workers.map((workers) => createRuntime({ workers, backend: 'wasm' })))
  const contenders: BlockContender[] = runtimes.map((runtime) => ({
    name: `heddle, ${runtime.lanes.length} lane${runtime.lanes.length === 1 ? '' : 's'}`,
    run: async () => (await block.forward(problem.input, { runtime })).output.data,
    close: () => runtime.close(),
  }))
  if (bench.threads > 0) contenders.push(await onnxBlock(modules, problem, bench.threads))
  if (bench.tfjs) contenders.push(await tfjsBlock(modules, problem, Math.max(1, bench.threads)))
  await compareAnswers(contenders)
  const times = await timeInTurns(contenders, bench.rounds)
  const { flops } = block.plan(runtimes[0] as Heddle.Runtime, problem.input.shape)
  await Promise.all(contenders.map((contender) => contender.close()))
  return contenders.map(({ name }) => ({ contender: name, tokens: bench.tokens, flops, spread: spreadOf(times.get(name) ?? []) }))
}

async function compareAnswers(contenders: readonly BlockContender[]): Promise<void> {
  const [first, ...others] = await Promise.all(contenders.map(async ({ name, run }) => ({ name, output: (await run()).slice() })))
  for (const { name, output } of others) {
    const worst = output.reduce((most, value, index) => Math.max(most, Math.abs(value - (first?.output[index] ?? NaN))), 0)
    if (!(worst < TOLERANCE)) throw new Error(`${name} differs from ${first?.name} by ${worst}`)
  }
}

async function timeInTurns(contenders: readonly BlockContender[], rounds: number): Promise<Map<string, number[]>> {
  const times = new Map(contenders.map(({ name }) => [name, [] as number[]]))
  for (let round = 0; round < rounds + WARM_ROUNDS; round++) {
    for (const { name, run } of contenders) {
      const start = performance.now()
      await run()
      if (round >= WARM_ROUNDS) times.get(name)?.push(performance.now() - start)
    }
  }
  return times
}

/** A line for each contender, with how it stands against the peers. */
export function blockLines(rows: readonly BlockRow[]): string[] {
  return rows.map(({ contender, tokens, flops, spread }) => {
    const peers = contender.startsWith('heddle') ? rows.filter((row) => !row.contender.startsWith('heddle')) : []
    const ratios = peers.map((peer) => `${(peer.spread.medianMs / spread.medianMs).toFixed(2)} × ${peer.contender}`)
    const speed = `${spread.medianMs.toFixed(1).padStart(8)} ms  ${(flops / spread.medianMs / 1e6).toFixed(1).padStart(6)} GFLOP/s`
    return `  n ${String(tokens).padEnd(5)} ${contender.padEnd(28)} ${speed}  ${ratios.join(', ')}`.trimEnd()
  })
}
