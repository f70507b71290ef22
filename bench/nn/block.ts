import { parseArgs } from 'node:util'
import { createRuntime, type Runtime } from 'heddle'
import { TransformerBlock } from 'heddle/nn'
import { peakGflops } from '../kernels/peak.ts'
import { onnxBlock, tfjsBlock, type BlockContender, type BlockProblem } from './block-peers.ts'

/**
 * A post-norm block (E 512, 8 heads, feed-forward 2048) at batch 1 beside the same block on onnxruntime-web and tfjs-wasm:
 * answers compared first, then interleaved rounds, medians.
 *
 *     node scripts/bench-nn.mjs [--onnx FOLDER] [--tfjs] [--tokens 512,2048] [--rounds 7] [--workers 1,2] [--threads 1]
 */
const { values } = parseArgs({
  options: { onnx: { type: 'string' }, tokens: { type: 'string', default: '512,2048' }, rounds: { type: 'string', default: '7' }, threads: { type: 'string', default: '1' }, tfjs: { type: 'boolean', default: false }, workers: { type: 'string', default: '1,2' } },
})
const TOLERANCE = 1e-4
const SIZES = { modelDim: 512, heads: 8, feedForwardDim: 2048 }

const numbers = (list: string): number[] => list.split(',').map(Number)

async function measure(tokens: number): Promise<void> {
  const block = new TransformerBlock(SIZES)
  const data = Float32Array.from({ length: tokens * SIZES.modelDim }, (_, index) => 1.7 * Math.sin(index * 12.9898 + (index % 97)))
  const problem: BlockProblem = { ...SIZES, state: block.stateDict(), input: { data, shape: [1, tokens, SIZES.modelDim] } }
  const runtimes = await Promise.all(numbers(values.workers).map((workers) => createRuntime({ workers })))
  const flops = block.plan(runtimes[0]!, problem.input.shape).flops
  const contenders = [...runtimes.map((runtime) => heddleBlock(runtime, block, problem)), ...(await peers(problem))]
  const [first, ...others] = await Promise.all(contenders.map(async ({ name, run }) => ({ name, output: (await run()).slice() })))
  for (const { name, output } of others) {
    const worst = output.reduce((most, value, index) => Math.max(most, Math.abs(value - first!.output[index]!)), 0)
    if (!(worst < TOLERANCE)) throw new Error(`${name} differs from ${first!.name} by ${worst}`)
  }
  const times = new Map(contenders.map(({ name }) => [name, [] as number[]]))
  for (let round = 0; round < Number(values.rounds) + 2; round++) {
    for (const { name, run } of contenders) {
      const start = performance.now()
      await run()
      if (round >= 2) times.get(name)!.push(performance.now() - start)
    }
  }
  const medians = new Map([...times].map(([name, list]) => [name, list.sort((a, b) => a - b)[list.length >> 1]!]))
  for (const [name, median] of medians) {
    const ratio = [...medians].filter(([other]) => other !== name && !other.startsWith('heddle')).map(([other, time]) => `${(time / median).toFixed(2)} × ${other}`)
    console.log(`n ${tokens}  ${name.padEnd(28)} ${median.toFixed(1).padStart(8)} ms  ${(flops / median / 1e6).toFixed(1).padStart(6)} GFLOP/s  ${name.startsWith('heddle') ? ratio.join(', ') : ''}`)
  }
  await Promise.all([...contenders.map((contender) => contender.close()), ...runtimes.map((runtime) => runtime.close())])
}

function heddleBlock(runtime: Runtime, block: TransformerBlock, { input }: BlockProblem): BlockContender {
  const { length } = runtime.lanes
  return { name: `heddle, ${length} lane${length === 1 ? '' : 's'}`, run: async () => (await block.forward(input, { runtime })).output.data, close: () => Promise.resolve() }
}

async function peers(problem: BlockProblem): Promise<BlockContender[]> {
  const found: BlockContender[] = []
  if (values.onnx !== undefined) found.push(await onnxBlock(values.onnx, problem, Number(values.threads)))
  if (values.tfjs) found.push(await tfjsBlock(problem).catch((error: unknown) => ({ name: `tfjs-wasm failed: ${String(error)}`, run: () => Promise.resolve(problem.input.data), close: () => Promise.resolve() })))
  return found
}

const peak = peakGflops('fused') ?? peakGflops('multiply + add')
console.log(`${process.version}, peak of one core ${peak?.gflops.toFixed(1)} GFLOP/s`)
for (const tokens of numbers(values.tokens)) await measure(tokens)
process.exit(0)
