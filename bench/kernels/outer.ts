import { readFileSync } from 'node:fs'
import type { RowKernels } from '../../src/backends/wasm/stage-memory.ts'
import { linearScratchBytes, STAGE_TILE_ROWS } from '../../src/plan/stage-arena.ts'
import { interleave, median, numbersGiven } from './rounds.ts'

/**
 * Speed of a weight's gradient dYᵀ·X over a slab of rows, in panels already packed, beside X·Wᵀ of the same size in
 * tiles (which packs its rows), in turns.
 *
 *   node scripts/bench-kernels.mjs outer [rows] [in] [out] [rounds]
 */
const [rows = 512, inSize = 512, outSize = 256, rounds = 31] = numbersGiven()
const x = Float32Array.from({ length: rows * inSize }, (_, at) => Math.sin(at))
const dy = Float32Array.from({ length: rows * outSize }, (_, at) => Math.cos(at) / 8)
const w = Float32Array.from({ length: inSize * outSize }, (_, at) => Math.cos(at) / 8)

const contenders = (['simd', 'relaxed'] as const).flatMap((variant) => {
  const bytes = readFileSync(`build/heddle-rows-${variant}.wasm`)
  return WebAssembly.validate(bytes) ? pairOf(variant, new WebAssembly.Module(bytes)) : []
})
for (const { name, check } of contenders) {
  if (!(check() < 1e-3)) throw new Error(`${name}: expected the sums of plain code, but they differ by ${check()}`)
}
const times = await interleave(contenders, rounds + 2)
console.log(`${rows} rows, ${inSize} inputs, ${outSize} outputs`)
const gflops = (ms: number) => (2 * rows * inSize * outSize) / (ms * 1e6)
for (const [name, list] of times) {
  const beside = times.get(name.replace(/^\w+/, 'linear')) ?? []
  const ratio = median(list.map((ms, round) => (beside[round] ?? NaN) / ms))
  console.log(
    `${name.padEnd(16)} median ${gflops(median(list)).toFixed(1)} GFLOP/s, best ${gflops(Math.min(...list)).toFixed(1)}, ${(100 * ratio).toFixed(0)} % of linear's speed`,
  )
}

interface Contender {
  readonly name: string
  readonly run: () => void
  /** the largest error of a few elements */
  readonly check: () => number
}

/** Both kernels over one memory. */
function pairOf(variant: string, module: WebAssembly.Module): Contender[] {
  let end = 65_536
  const take = (length: number) => {
    const at = end
    end += Math.ceil(length / 4) * 16
    return at
  }
  const [from, raw, result, sums] = [
    take(rows * inSize),
    take(Math.max(outSize * inSize, rows * outSize)),
    take(rows * outSize),
    take(outSize * inSize),
  ]
  const [panels, quads, inputs] = [
    take(8 * Math.ceil(outSize / 8) * inSize),
    take(4 * Math.ceil(outSize / 4) * rows),
    take(8 * Math.ceil(inSize / 8) * rows),
  ]
  const scratch = take(Math.max(2080, linearScratchBytes(inSize)) / 4)
  const memory = new WebAssembly.Memory({ initial: Math.ceil(end / 65_536) })
  const kernels = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as RowKernels
  const floats = new Float32Array(memory.buffer)
  floats.set(w, raw >> 2)
  for (let row = 0; row < outSize; row += 8)
    kernels.packLanes(
      raw + row * inSize * 4,
      inSize,
      panels + row * inSize * 4,
      Math.min(8, outSize - row),
      inSize,
      inSize,
      1,
    )
  floats.set(x, from >> 2)
  kernels.packPanels(from, rows, inSize, inputs, rows)
  floats.set(dy, raw >> 2)
  kernels.packQuads(raw, rows, outSize, quads, rows)
  const linear = () => {
    for (let row = 0; row < rows; row += STAGE_TILE_ROWS) {
      kernels.linearRows(
        from + row * inSize * 4,
        Math.min(STAGE_TILE_ROWS, rows - row),
        inSize,
        panels,
        0,
        result + row * outSize * 4,
        outSize,
        scratch,
      )
    }
  }
  const outer = () => {
    floats.fill(0, sums >> 2, (sums >> 2) + outSize * inSize)
    kernels.outerRows(quads, inputs, rows, outSize, inSize, sums, scratch)
  }
  return [
    {
      name: `linear ${variant}`,
      run: linear,
      check: () => (
        linear(),
        worstError(floats.subarray(result >> 2), rows, outSize, (r, o) =>
          dot(inSize, (k) => [at(x, r * inSize + k), at(w, o * inSize + k)]),
        )
      ),
    },
    {
      name: `outer ${variant}`,
      run: outer,
      check: () => (
        outer(),
        worstError(floats.subarray(sums >> 2), outSize, inSize, (o, i) =>
          dot(rows, (r) => [at(dy, r * outSize + o), at(x, r * inSize + i)]),
        )
      ),
    },
  ]
}

/** Over 100 elements of a [height, width] matrix. */
function worstError(
  matrix: Float32Array,
  height: number,
  width: number,
  should: (row: number, column: number) => number,
): number {
  const errors = Array.from({ length: 100 }, (_, step) => {
    const [row, column] = [(step * 37) % height, (step * 53) % width]
    return Math.abs(at(matrix, row * width + column) - should(row, column))
  })
  return Math.max(...errors)
}

function dot(count: number, factors: (index: number) => readonly [number, number]): number {
  let sum = 0
  for (let index = 0; index < count; index++) {
    const [a, b] = factors(index)
    sum += a * b
  }
  return sum
}

function at(list: Float32Array, index: number): number {
  return list[index] ?? NaN
}
