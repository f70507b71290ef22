import type * as Tf from '@tensorflow/tfjs-core'
import { GpuDevice } from '../../src/backends/webgpu/gpu-device.ts'
import type { GpuLimits, WebGpuInfo } from '../../src/backends/webgpu/probe.ts'
import { worstDifference } from '../../src/cli/bench/reference-rows.ts'
import { spreadOf, type Spread } from '../../src/cli/bench/spread.ts'
import { choiceOf, measureTiles } from '../../src/backends/webgpu/measure-tiles.ts'
import type { TileChoice } from '../../src/backends/webgpu/tile-choice.ts'
import { laneHeddle, residentHeddle, type GpuCase, type GpuContender, type GpuData } from './contenders.ts'
import { peakFlops } from './peak.ts'
import { jaxGpu, onnxruntimeGpu, tfjsMatrix } from './peers.ts'

export interface SuiteOptions {
  readonly sizes: readonly number[]
  readonly headSizes: readonly number[]
  readonly heads: number
  /** tfjs with its webgpu backend set, or null where it does not run */
  readonly tf: typeof Tf | null
  readonly onnxruntimeUrl: string | null
  readonly jaxUrl: string | null
  readonly log: (line: string) => void
}

export interface Row extends GpuCase {
  readonly contender: string
  readonly spread: Spread | null
  /** of the pairs that are seen */
  readonly teraflops: number | null
  readonly shareOfPeak: number | null
  readonly error: number | null
  readonly failure: string | null
}

export interface SuiteResult {
  readonly info: WebGpuInfo
  readonly software: boolean
  readonly limits: GpuLimits
  readonly peakTeraflops: number
  /** the attention kernel's variants, by their own measured time, and which of them runs here */
  readonly tiles: TileChoice
  readonly rows: readonly Row[]
}

const ROUNDS = 7
/** Rows that are held against float64 before anything is timed. */
const CHECKED_ROWS = 6
const TOLERANCE = 1e-5
/** Keys and values off by 2⁻¹¹, in inputs of up to 1: so much the output may be off. */
const HALF_TOLERANCE = 2e-3

/** Every case on every contender: data made outside the timing, the answer checked first, runs interleaved. */
export async function runSuite(options: SuiteOptions): Promise<SuiteResult> {
  const gpu = await GpuDevice.open(undefined)
  const peak = await peakFlops(gpu)
  options.log(`${gpu.name}${gpu.fallback ? ' (software)' : ''}: peak ${(peak / 1e12).toFixed(3)} TFLOP/s in float32`)
  const tiles = choiceOf(await measureTiles(gpu))
  for (const { tile, milliseconds, reason } of tiles.times)
    options.log(
      `  ${tile.padEnd(16)} ${milliseconds === null ? `not offered: ${reason}` : `${milliseconds.toFixed(3)} ms`}`,
    )
  options.log(`  runs ${tiles.tile}: ${tiles.reason}`)
  const rows: Row[] = []
  for (const headSize of options.headSizes) {
    for (const tokens of options.sizes) {
      for (const causal of [false, true])
        rows.push(...(await runCase(gpu, tiles, { heads: options.heads, tokens, headSize, causal }, peak, options)))
    }
  }
  const result = { info: gpu.info, software: gpu.fallback, limits: gpu.limits, peakTeraflops: peak / 1e12, tiles, rows }
  gpu.dispose()
  return result
}

async function runCase(
  gpu: GpuDevice,
  tiles: TileChoice,
  shape: GpuCase,
  peak: number,
  options: SuiteOptions,
): Promise<Row[]> {
  const data = randomData(shape)
  const started: Started[] = []
  for (const [name, start] of contendersOf(gpu, tiles, shape, data, options)) started.push(await attempt(name, start))
  const states: (Started & { samples: number[]; error: number | null })[] = []
  for (const state of started)
    states.push({
      ...state,
      samples: [],
      error: state.contender === null ? null : await errorOf(state.contender, shape, data),
    })
  for (let round = 0; round <= ROUNDS; round++) {
    for (const { name, contender, samples, error } of states) {
      if (contender === null || !isRight(name, error)) continue
      const startMs = performance.now()
      await contender.run()
      if (round > 0) samples.push(performance.now() - startMs)
    }
  }
  return states.map(({ name, contender, failure, samples, error }) => {
    contender?.dispose()
    const spread = samples.length === 0 ? null : spreadOf(samples)
    const flops = spread === null ? null : flopsOf(shape) / (spread.medianMs / 1000)
    const wrong = contender !== null && !isRight(name, error) ? `wrong answer: off by ${error}` : null
    const row = {
      ...shape,
      contender: name,
      spread,
      teraflops: flops && flops / 1e12,
      shareOfPeak: flops && flops / peak,
      error,
      failure: failure ?? wrong,
    }
    options.log(lineOf(row))
    return row
  })
}

type Contender = readonly [name: string, start: () => GpuContender | Promise<GpuContender>]

function contendersOf(
  gpu: GpuDevice,
  { tile, times }: TileChoice,
  shape: GpuCase,
  data: GpuData,
  { tf, onnxruntimeUrl, jaxUrl }: SuiteOptions,
): Contender[] {
  const others = times.flatMap((time) => (time.milliseconds === null || time.tile === tile ? [] : [time.tile]))
  return [
    ...[tile, ...others].map((name): Contender => [
      `heddle, on the device, ${name}`,
      () => residentHeddle(gpu, shape, data, name),
    ]),
    ['heddle lane, float32', () => laneHeddle(undefined, shape, data, 4096, 'float32')],
    ['heddle lane, float16', () => laneHeddle(undefined, shape, data, 4096, 'float16')],
    ...(tf === null
      ? []
      : [
          [
            'tfjs-webgpu',
            () => (shape.causal ? never('it has no causal attention') : tfjsMatrix(tf, shape, data)),
          ] as const,
        ]),
    ...(onnxruntimeUrl === null
      ? []
      : [['onnxruntime-webgpu', () => onnxruntimeGpu(onnxruntimeUrl, shape, data)] as const]),
    ...(jaxUrl === null ? [] : [['jax-js', () => jaxGpu(jaxUrl, shape, data)] as const]),
  ]
}

interface Started {
  readonly name: string
  readonly contender: GpuContender | null
  readonly failure: string | null
}

function never(reason: string): GpuContender {
  throw new Error(reason)
}

async function attempt(name: string, start: () => GpuContender | Promise<GpuContender>): Promise<Started> {
  try {
    const contender = await start()
    await contender.run()
    return { name, contender, failure: null }
  } catch (error) {
    return { name, contender: null, failure: error instanceof Error ? error.message : String(error) }
  }
}

function isRight(name: string, error: number | null): boolean {
  return error !== null && error <= (name.includes('float16') ? HALF_TOLERANCE : TOLERANCE)
}

/** The largest error of some rows of the first and last head. */
async function errorOf(contender: GpuContender, shape: GpuCase, data: GpuData): Promise<number> {
  const output = await contender.read()
  const { heads, tokens, headSize, causal } = shape
  const places = [...new Set([0, heads - 1])].flatMap((head) =>
    Array.from({ length: CHECKED_ROWS }, (_, check) => ({
      head,
      row: Math.floor((check * (tokens - 1)) / (CHECKED_ROWS - 1)),
    })),
  )
  return worstDifference({ ...data, output, tokens, headSize, causal }, places)
}

function flopsOf({ heads, tokens, headSize, causal }: GpuCase): number {
  const pairs = causal ? (tokens * (tokens + 1)) / 2 : tokens * tokens
  return heads * pairs * 4 * headSize
}

function randomData({ heads, tokens, headSize }: GpuCase): GpuData {
  let state = 1
  const fill = (): Float32Array =>
    Float32Array.from({ length: heads * tokens * headSize }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return state / 2147483648 - 1
    })
  return { query: fill(), key: fill(), value: fill() }
}

function lineOf({
  contender,
  tokens,
  headSize,
  causal,
  spread,
  teraflops,
  shareOfPeak,
  error,
  failure,
}: Omit<Row, 'heads'>): string {
  const what = `n ${tokens}, D ${headSize}${causal ? ', causal' : ''}`.padEnd(24)
  if (failure !== null) return `${what} ${contender.padEnd(40)} failed: ${failure}`
  const time = `${(spread?.medianMs ?? NaN).toFixed(2)} ms`.padStart(12)
  return `${what} ${contender.padEnd(40)} ${time} (${spread?.lowMs.toFixed(2)} – ${spread?.highMs.toFixed(2)}) ${(teraflops ?? NaN).toFixed(4)} TFLOP/s, ${(100 * (shareOfPeak ?? NaN)).toFixed(1)} % of peak, off by ${error?.toExponential(1)}`
}
