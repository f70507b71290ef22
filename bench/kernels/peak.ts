/**
 * The engine's own peak on this machine: a loop of independent multiply-adds and nothing else, for every number of
 * accumulators from 4 to 14, with one or four turns between jumps (which of them suits depends on the engine). A kernel
 * that beats it shows a mistake in the probe.
 */

export type MultiplyAdd = 'multiply + add' | 'fused'

const [I32, F32, V128, VOID] = [0x7f, 0x7d, 0x7b, 0x40]
const FACTORS = 2
const SHAPES = Array.from({ length: 22 }, (_, at) => ({ accumulators: 4 + (at >> 1), turns: at % 2 === 0 ? 1 : 4 }))

/** GFLOP/s of the best of all accumulator counts; undefined where the engine has no such instruction. */
export function peakGflops(kind: MultiplyAdd): { gflops: number; accumulators: number } | undefined {
  let best: { gflops: number; accumulators: number } | undefined
  for (const { accumulators, turns } of SHAPES) {
    const bytes = probeModule(accumulators, turns, kind)
    if (!WebAssembly.validate(bytes)) return undefined
    const exports = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports
    const run = exports['run'] as (iterations: number) => number
    for (let warm = 0; warm < 20; warm++) run(20_000)
    for (let round = 0; round < 5; round++) {
      const iterations = 400_000 / turns
      const start = performance.now()
      run(iterations)
      const gflops = (iterations * turns * accumulators * 8) / ((performance.now() - start) * 1e6)
      if (best === undefined || gflops > best.gflops) best = { gflops, accumulators }
    }
  }
  return best
}

/**
 * Bytes a second that TypedArray.set moves between arrays far larger than any cache (read and written once each: n
 * bytes).
 */
export function copyBandwidth(): number {
  const source = new Float32Array(16 * 1024 * 1024).fill(1)
  const target = new Float32Array(source.length)
  let best = 0
  for (let round = 0; round < 6; round++) {
    const start = performance.now()
    target.set(source)
    best = Math.max(best, source.byteLength / ((performance.now() - start) / 1000))
  }
  return best
}

/**
 * run(iterations): acc[i] += x[i / 2]·y[i mod 2], the x loaded anew each turn. Distinct factors, so that no product can
 * be shared; no multiply in the chain of an accumulator.
 */
function probeModule(accumulators: number, turns: number, kind: MultiplyAdd): Uint8Array<ArrayBuffer> {
  const local = { factor: (i: number) => 1 + i, loaded: 1 + FACTORS, sum: (i: number) => 2 + FACTORS + i }
  const code: number[] = []
  const simd = (opcode: number, ...immediate: number[]) => code.push(0xfd, ...unsigned(opcode), ...immediate)
  const get = (...locals: readonly number[]) => locals.forEach((index) => code.push(0x20, index))
  const set = (index: number) => code.push(0x21, index)
  for (let i = 0; i < FACTORS; i++) {
    code.push(0x41, 0)
    simd(0x00, 4, ...unsigned(16 * i))
    set(local.factor(i))
  }
  code.push(0x03, VOID)
  for (let step = 0; step < accumulators * turns; step++) {
    const i = step % accumulators
    if (i % FACTORS === 0) {
      // Just before its use: engines that keep this order need few registers.
      code.push(0x41, 0)
      simd(0x00, 4, ...unsigned(16 * (i + FACTORS)))
      set(local.loaded)
    }
    const [x, y, sum] = [local.loaded, local.factor(i % FACTORS), local.sum(i)]
    if (kind === 'fused') {
      get(x, y, sum)
      simd(0x105)
    } else {
      get(sum, x, y)
      simd(0xe6)
      simd(0xe4)
    }
    set(sum)
  }
  // iterations -= 1, again while it is not 0
  get(0)
  code.push(0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b)
  get(local.sum(0))
  for (let i = 1; i < accumulators; i++) {
    get(local.sum(i))
    simd(0xe4)
  }
  simd(0x1f, 0)
  const body = [1, FACTORS + 1 + accumulators, V128, ...code, 0x0b]
  return Uint8Array.from([
    0x00,
    0x61,
    0x73,
    0x6d,
    0x01,
    0x00,
    0x00,
    0x00,
    ...section(1, [1, 0x60, 1, I32, 1, F32]),
    ...section(3, [1, 0]),
    ...section(5, [1, 0, 1]),
    ...section(7, [1, 3, ...new TextEncoder().encode('run'), 0, 0]),
    ...section(10, [1, ...unsigned(body.length), ...body]),
  ])
}

function section(id: number, content: readonly number[]): number[] {
  return [id, ...unsigned(content.length), ...content]
}

function unsigned(value: number): number[] {
  const bytes: number[] = []
  do {
    bytes.push((value & 0x7f) | (value > 0x7f ? 0x80 : 0))
    value >>>= 7
  } while (value > 0)
  return bytes
}
