import { readFileSync } from 'node:fs'
import { createWasmBackend } from '../../src/backends/wasm/engine.ts'
import type { AttentionBackwardTask } from '../../src/protocol/backward-task.ts'
import type { AttentionTask, TaskArray } from '../../src/protocol/task.ts'
import { spreadOf, type Spread } from '../../src/cli/bench/spread.ts'
import { peakGflops } from '../kernels/peak.ts'
import { backwardData, worstOf } from './data.ts'
import { plainSettings } from '../kernels/plain-settings.ts'

/** One head, forward and backward, on the engine alone: no worker, no messages. */
export interface KernelShape {
  readonly tokens: number
  readonly headSize: number
  readonly causal: boolean
}

export interface KernelTimes {
  readonly variant: string
  readonly forward: Spread
  readonly backward: Spread
  /** median of backward / forward within each round */
  readonly ratio: number
  readonly forwardGflops: number
  readonly backwardGflops: number
  readonly peakGflops: number
  readonly worstError: number
}

const ALLOWED_ERROR = 1e-4

/** Times both in turns, after the gradients were held against float64. @throws where they are wrong */
export async function measureKernels(
  variant: 'simd' | 'relaxed',
  shape: KernelShape,
  rounds: number,
): Promise<KernelTimes | undefined> {
  const bytes = readFileSync(`build/heddle-attention-${variant}.wasm`)
  const later = readFileSync(`build/heddle-gradients-${variant}.wasm`)
  const peak = peakGflops(variant === 'simd' ? 'multiply + add' : 'fused')
  if (!WebAssembly.validate(bytes) || peak === undefined) return undefined
  const backend = createWasmBackend([new WebAssembly.Module(bytes)], () => WebAssembly.compile(later))
  const { arrays, forward, backward } = tasksOf(shape)
  const context = { array: (id: number) => arrays[id] as TaskArray, pace: () => undefined }
  const both = async (): Promise<[number, number]> => {
    const start = processorMs()
    await backend.attention(forward, context)
    const middle = processorMs()
    await backend.attentionBackward(backward, context)
    return [middle - start, processorMs() - middle]
  }
  await both()
  const [query, key, value, , , dOutput, dQuery, dKey, dValue] = arrays as Float32Array[]
  const data = {
    query: query as Float32Array,
    key: key as Float32Array,
    value: value as Float32Array,
    dOutput: dOutput as Float32Array,
  }
  const gradients = { dQuery: dQuery as Float32Array, dKey: dKey as Float32Array, dValue: dValue as Float32Array }
  const worstError = worstOf({ ...shape, heads: 1 }, data, gradients)
  if (!(worstError <= ALLOWED_ERROR)) throw new Error(`wrong gradients: off by ${worstError}`)
  for (let warm = 0; warm < 4; warm++) await both()
  const times: [number, number][] = []
  for (let round = 0; round < rounds; round++) times.push(await both())
  const [forwardTimes, backwardTimes] = [spreadOf(times.map(([ms]) => ms)), spreadOf(times.map(([, ms]) => ms))]
  const flops = 4 * shape.tokens * shape.tokens * shape.headSize * (shape.causal ? 0.5 : 1)
  return {
    variant,
    forward: forwardTimes,
    backward: backwardTimes,
    worstError,
    ratio: spreadOf(times.map(([f, b]) => b / f)).medianMs,
    forwardGflops: flops / forwardTimes.medianMs / 1e6,
    backwardGflops: (2.5 * flops) / backwardTimes.medianMs / 1e6,
    peakGflops: peak.gflops,
  }
}

/** Of this process: other programs on the machine take wall time, but not that. */
function processorMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

function tasksOf({ tokens, headSize, causal }: KernelShape): {
  arrays: TaskArray[]
  forward: AttentionTask
  backward: AttentionBackwardTask
} {
  const { query, key, value, dOutput } = backwardData({ tokens, heads: 1, headSize })
  const zeros = (): Float32Array => new Float32Array(tokens * headSize)
  const arrays = [query, key, value, zeros(), new Float32Array(tokens), dOutput, zeros(), zeros(), zeros()]
  const slice = (array: number, rowStride = headSize) => ({ array, offset: 0, rowStride })
  const settings = plainSettings(tokens, headSize, causal)
  const shared = {
    settings,
    rows: tokens,
    keyStart: 0,
    keyEnd: tokens,
    keyLength: tokens,
    queryOffset: 0,
    key: slice(1),
    value: slice(2),
  }
  return {
    arrays,
    forward: {
      ...shared,
      kind: 'attention',
      batchHead: 0,
      rowStart: 0,
      alibiSlope: 0,
      query: slice(0),
      output: slice(3),
      logSumExp: slice(4, 1),
    },
    backward: {
      ...shared,
      kind: 'attention-backward',
      stepRows: 64,
      slopeGradient: false,
      dKey: slice(7),
      dValue: slice(8),
      heads: [
        {
          batchHead: 0,
          alibiSlope: 0,
          query: slice(0),
          logSumExp: slice(4, 1),
          output: slice(3),
          dOutput: slice(5),
          dQuery: slice(6),
        },
      ],
    },
  }
}
