import { heddle, onnxruntime, randomData, type Contender, type Shape } from './contenders.ts'
import { copyBandwidth, peakGflops } from './peak.ts'
import { interleave, median, numbersGiven } from './rounds.ts'

/**
 * Speed of the attention kernel on this thread, beside the engine's peak and, where PEER names the dist folder of an
 * installed onnxruntime-web, beside that: interleaved rounds, the answers compared before anything is timed.
 *
 *   node scripts/bench-kernels.mjs attention [tokens] [head size] [rounds] [causal]
 */
const [tokens = 2048, headSize = 64, rounds = 7] = numbersGiven()
const causal = process.argv.includes('causal')
const queries = Number(process.env['QUERIES'] ?? tokens)
const shape: Shape = { heads: Number(process.env['HEADS'] ?? 8), queries, tokens, headSize, causal }
const data = randomData(shape)
const peaks = { simd: peakGflops('multiply + add'), relaxed: peakGflops('fused') }

const contenders: Contender[] = [heddle('simd', shape, data)]
if (peaks.relaxed !== undefined) contenders.push(heddle('relaxed', shape, data))
const peer = process.env['PEER']
if (peer !== undefined && !causal) contenders.push(await onnxruntime(peer, shape, data))

await checkAgreement(contenders)
const times = await interleave(contenders, rounds)
report()

async function checkAgreement(all: readonly Contender[]): Promise<void> {
  const [first, ...others] = await Promise.all(all.map(async (contender) => Float32Array.from(await contender.run())))
  for (const other of others) {
    const worst = other.reduce((error, x, at) => Math.max(error, Math.abs(x - (first?.[at] ?? NaN))), 0)
    if (!(worst < 1e-4)) throw new Error(`the answers differ by ${worst}`)
  }
}

function report(): void {
  const pairs = causal ? (queries * (2 * tokens - queries + 1)) / 2 : queries * tokens
  const flops = 4 * shape.heads * pairs * headSize
  const slowest = [...times.values()].map(median).at(-1) ?? NaN
  console.log(
    `n ${tokens}, queries ${queries}, H ${shape.heads}, D ${headSize}${causal ? ', causal' : ''}; peak ${format(peaks.simd)} multiply + add, ${format(peaks.relaxed)} fused; copy ${(copyBandwidth() / 1e9).toFixed(1)} GB/s`,
  )
  for (const [name, list] of times) {
    const gflops = (ms: number) => flops / (ms * 1e6)
    const peak = (name.endsWith('relaxed') ? peaks.relaxed : peaks.simd)?.gflops ?? NaN
    const share = name.startsWith('heddle')
      ? `, ${((100 * gflops(Math.min(...list))) / peak).toFixed(0)} % of the peak (best)`
      : ''
    console.log(
      `${name.padEnd(16)} median ${median(list).toFixed(2)} ms, best ${Math.min(...list).toFixed(2)} ms, ${gflops(median(list)).toFixed(1)} GFLOP/s (best ${gflops(Math.min(...list)).toFixed(1)})${share}, ${(slowest / median(list)).toFixed(2)} × the last`,
    )
  }
}

function format(peak: { gflops: number; accumulators: number } | undefined): string {
  return peak === undefined ? 'no' : `${peak.gflops.toFixed(1)} GFLOP/s (${peak.accumulators} accumulators)`
}
