import { readFileSync } from 'node:fs'
import type { RowKernels } from '../../src/backends/wasm/stage-memory.ts'
import { STAGE_TILE_ROWS } from '../../src/plan/stage-arena.ts'
import { onnxruntimeMatMul } from './contenders.ts'
import { peakGflops } from './peak.ts'
import { interleave, median, numbersGiven } from './rounds.ts'

/**
 * Speed of the matrix product X·Wᵀ + b in tiles of rows as a stage takes them, beside the engine's peak and, where PEER
 * names the dist folder of an installed onnxruntime-web, beside its MatMul.
 *
 *   node scripts/bench-kernels.mjs linear [rows] [in] [out] [rounds]
 */
const [rows = 512, inSize = 512, outSize = 512, rounds = 15] = numbersGiven()
const peaks = { simd: peakGflops('multiply + add'), relaxed: peakGflops('fused') }
const x = Float32Array.from({ length: rows * inSize }, (_, at) => Math.sin(at))
const w = Float32Array.from({ length: inSize * outSize }, (_, at) => Math.cos(at) / 8)

const contenders: { readonly name: string; run(): Float32Array | Promise<Float32Array> }[] = [linear('simd')]
if (peaks.relaxed !== undefined) contenders.push(linear('relaxed'))
const peer = process.env['PEER']
if (peer !== undefined) contenders.push(await onnxruntimeMatMul(peer, x, w, rows, inSize, outSize))

const answers = await Promise.all(contenders.map(async (contender) => Float32Array.from(await contender.run())))
for (const answer of answers) {
  const worst = answer.reduce((error, y, at) => Math.max(error, Math.abs(y - (answers[0]?.[at] ?? NaN))), 0)
  if (!(worst < 1e-3)) throw new Error(`the answers differ by ${worst}`)
}
const times = await interleave(contenders, rounds + 2)
const slowest = [...times.values()].map(median).at(-1) ?? NaN
console.log(
  `${rows} rows, ${inSize} → ${outSize}; peak ${peaks.simd?.gflops.toFixed(1)} multiply + add, ${peaks.relaxed?.gflops.toFixed(1) ?? 'no'} fused`,
)
for (const [name, list] of times) {
  const gflops = (ms: number) => (2 * rows * inSize * outSize) / (ms * 1e6)
  const best = gflops(Math.min(...list))
  const peak = (name.endsWith('relaxed') ? peaks.relaxed : peaks.simd)?.gflops ?? NaN
  console.log(
    `${name.padEnd(16)} median ${median(list).toFixed(2)} ms, ${gflops(median(list)).toFixed(1)} GFLOP/s (best ${best.toFixed(1)}, ${((100 * best) / peak).toFixed(0)} % of the peak), ${(slowest / median(list)).toFixed(2)} × the last`,
  )
}

function linear(variant: 'simd' | 'relaxed') {
  const memory = new WebAssembly.Memory({ initial: 512 })
  const kernels = new WebAssembly.Instance(new WebAssembly.Module(readFileSync(`build/heddle-rows-${variant}.wasm`)), {
    env: { memory },
  }).exports as unknown as RowKernels
  const floats = new Float32Array(memory.buffer)
  const [raw, panels, tile, result, scratch] = [65536, 65536 + 32 * inSize, 8 << 20, 16 << 20, 24 << 20]
  for (let row = 0; row < outSize; row += 8) {
    const count = Math.min(8, outSize - row)
    floats.set(w.subarray(row * inSize, (row + count) * inSize), raw >> 2)
    kernels.packLanes(raw, inSize, panels + row * inSize * 4, count, inSize, inSize, 1)
  }
  const y = new Float32Array(rows * outSize)
  const run = () => {
    for (let row = 0; row < rows; row += STAGE_TILE_ROWS) {
      const count = Math.min(STAGE_TILE_ROWS, rows - row)
      floats.set(x.subarray(row * inSize, (row + count) * inSize), tile >> 2)
      kernels.linearRows(tile, count, inSize, panels, 0, result, outSize, scratch)
      y.set(floats.subarray(result >> 2, (result >> 2) + count * outSize), row * outSize)
    }
    return y
  }
  return { name: `heddle ${variant}`, run }
}
