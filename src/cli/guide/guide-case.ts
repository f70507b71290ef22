import { availableParallelism } from 'node:os'
import { createRuntime, MemoryBudgetError, tensor, type Runtime, type Tensor } from '../../index.ts'
import { MultiHeadAttention } from '../../nn/index.ts'
import { withResidentGrowth } from '../run/resident-memory.ts'

/** The guide's benchmark: multi-head attention of these sizes. */
export const GUIDE = { modelDim: 512, heads: 8, batch: 8 } as const

export type GuideMode = 'chunked' | 'standard'

/** One size, measured in a process of its own. */
export interface GuideResult {
  readonly tokens: number
  readonly mode: GuideMode | 'PyTorch'
  readonly medianMs: number
  readonly calls: number
  /** sequences × length, a second */
  readonly tokensPerSecond: number
  /** growth of the process's resident memory over the calls, the layer and its input included */
  readonly residentBytes: number
  /** peak of the counting allocator; PyTorch has none */
  readonly peakBytes: number | null
}

export interface GuideRefusal {
  readonly refused: string
}

const [MAX_CALLS, MIN_CALLS] = [30, 2]
/** Both modes must agree on a part of the input before anything is timed. */
const TOLERANCE = 1e-5
const CHECKED_TOKENS = 200

/** Measures one size here; meant for a fresh process, so that one size's memory does not stand in another's number. */
export async function measureGuideCase(
  tokens: number,
  mode: GuideMode,
  caseMs: number,
): Promise<GuideResult | GuideRefusal> {
  const runtime = await createRuntime({ workers: Math.max(1, availableParallelism()) })
  try {
    const layer = new MultiHeadAttention({ modelDim: GUIDE.modelDim, heads: GUIDE.heads })
    const { value, growthBytes } = await withResidentGrowth(() => timeCalls(runtime, layer, tokens, mode, caseMs))
    const { times, peakBytes } = value
    const medianMs = times.sort((a, b) => a - b)[Math.floor(times.length / 2)] ?? NaN
    return {
      tokens,
      mode,
      medianMs,
      calls: times.length,
      tokensPerSecond: (GUIDE.batch * tokens) / (medianMs / 1000),
      residentBytes: growthBytes,
      peakBytes,
    }
  } catch (error) {
    if (error instanceof MemoryBudgetError) return { refused: error.message }
    throw error
  } finally {
    await runtime.close()
  }
}

async function timeCalls(
  runtime: Runtime,
  layer: MultiHeadAttention,
  tokens: number,
  mode: GuideMode,
  caseMs: number,
): Promise<{ times: number[]; peakBytes: number }> {
  await checkModes(runtime, layer, Math.min(tokens, CHECKED_TOKENS))
  const x = inputOf(GUIDE.batch, tokens)
  // As the guide's layer does, standard mode makes the weights of every head and returns them.
  const call = () => layer.forward(x, { runtime, ...(mode === 'standard' ? { returnWeights: true } : {}) })
  let peakBytes = (await call()).report.memory.peakBytes
  const times: number[] = []
  for (
    const startMs = performance.now();
    times.length < MIN_CALLS || (performance.now() - startMs < caseMs && times.length < MAX_CALLS);
  ) {
    const callMs = performance.now()
    const { report } = await call()
    times.push(performance.now() - callMs)
    peakBytes = Math.max(peakBytes, report.memory.peakBytes)
  }
  return { times, peakBytes }
}

/** @throws {Error} when the two modes differ */
async function checkModes(runtime: Runtime, layer: MultiHeadAttention, tokens: number): Promise<void> {
  const x = inputOf(1, tokens)
  const [chunked, standard] = [
    await layer.forward(x, { runtime }),
    await layer.forward(x, { runtime, returnWeights: true }),
  ]
  const worst = chunked.output.data.reduce(
    (most, value, index) => Math.max(most, Math.abs(value - (standard.output.data[index] ?? NaN))),
    0,
  )
  if (!(worst < TOLERANCE)) throw new Error(`guide: chunked and standard mode differ by ${worst}`)
}

function inputOf(batch: number, tokens: number): Tensor {
  const data = Float32Array.from(
    { length: batch * tokens * GUIDE.modelDim },
    (_, index) => 1.4 * Math.sin(index * 12.9898 + (index % 89)),
  )
  return tensor(data, [batch, tokens, GUIDE.modelDim])
}
