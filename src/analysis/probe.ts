import { checkFunction, checkInteger, checkNames } from '../core/check.ts'
import type { Tensor } from '../core/tensor.ts'
import type { AnyModule } from '../nn/module.ts'
import { readBatch, type Batch } from '../train/batch.ts'
import { lossAndGradients } from '../train/loss-and-gradients.ts'
import { meanLoss } from '../train/evaluation.ts'
import { crossEntropy, type Loss } from '../train/losses.ts'
import { ANALYSIS_NAMES, type AnalysisOptions } from './analysis-options.ts'
import { analyzeModel } from './analyze-model.ts'
import type { Bucket, ModelAnalysis, Role, Score, ScoreName } from './report.ts'

/** What a probe measures, and when. */
export interface ProbeOptions extends AnalysisOptions {
  /** steps between two records */
  readonly every: number
  /** measured again and again: the same sequences for every record */
  readonly batch: Batch
  /** @default crossEntropy() */
  readonly loss?: Loss
  /** called with each record */
  readonly onRecord?: (record: ProbeRecord) => void
}

/** One head at one step. */
export interface ProbedHead {
  /** index of the layer, from 0 */
  readonly layer: number
  /** index of the head in its layer, from 0 */
  readonly head: number
  /** by name; scores that do not apply are left out */
  readonly scores: Readonly<Partial<Record<ScoreName, Score>>>
  /** strongest first, against its baseline */
  readonly roles: readonly Role[]
  /** [query bucket][key bucket], as in `HeadAnalysis`; null where heatmaps were left out */
  readonly heatmap: readonly (readonly number[])[] | null
}

/** What a model's attention does after a step, as plain data. */
export interface ProbeRecord {
  /** the training step after which it was made */
  readonly step: number
  /** of the probe's batch, in evaluation mode */
  readonly loss: number
  /** mean over all heads, in nats */
  readonly entropy: number
  /** every head of every layer, layer by layer */
  readonly heads: readonly ProbedHead[]
  /** of heatmaps */
  readonly axes: {
    /** index of the sequence in the batch */
    readonly sequence: number
    /** the buckets of query rows: the rows of a heatmap */
    readonly queries: readonly Bucket[]
    /** the buckets of key rows: the columns of a heatmap */
    readonly keys: readonly Bucket[]
  }
  /** what the measurement took */
  readonly elapsedMs: number
}

/** Enough to see a diagonal, little enough to keep hundreds of. */
const HEATMAP_SIZE = 32

/**
 * Records what the heads of a model do while it learns. The loop stays the caller's:
 *
 *     for await (const { step } of train(model, options)) if (probe.isDue(step)) await probe.record(model, step)
 *
 * A record costs a forward pass for the loss, and an analysis without received attention, rollout and distances.
 */
export class Probe {
  readonly #records: ProbeRecord[] = []

  /** @throws {OptionError} {ShapeError} for wrong options, or a batch that is none */
  constructor(private readonly options: ProbeOptions) {
    options = checkNames('Probe: options', options, [...ANALYSIS_NAMES, 'every', 'batch', 'loss', 'onRecord'])
    checkInteger('Probe: option every', options.every, 1)
    readBatch('Probe: option batch', options.batch)
    if (options.onRecord !== undefined) checkFunction('Probe: option onRecord', options.onRecord)
  }

  /** What was recorded so far, in order. */
  get records(): readonly ProbeRecord[] {
    return this.#records
  }

  /**
   * Whether a record is due after this many steps; before the first step one is.
   *
   * @param step updates so far
   */
  isDue(step: number): boolean {
    return step % this.options.every === 0
  }

  /**
   * Measures the model as it is now.
   *
   * @param model the model that is trained; it runs in evaluation mode
   * @param step updates so far, for the record
   * @throws as `analyzeModel` and `lossAndGradients` do
   */
  async record(model: AnyModule, step: number): Promise<ProbeRecord> {
    checkInteger('Probe: step', step, 0)
    const { batch, loss = crossEntropy(), onRecord, ...others } = this.options
    const startMs = performance.now()
    const { runtime, signal } = others
    const analysis = Object.fromEntries(Object.entries(others).filter(([name]) => name !== 'every')) as AnalysisOptions
    const run = { loss, ...(runtime === undefined ? {} : { runtime }), ...(signal === undefined ? {} : { signal }) }
    const value = await meanLoss(lossAndGradients, model, [batch], run)
    const input = batch.tokens ?? batch.input
    const details = Object.fromEntries(
      (['segments', 'positions'] as const).flatMap((name) =>
        batch[name] !== undefined && model.takesOption(name) ? [[name, batch[name]]] : [],
      ),
    )
    const found = await analyzeModel(model, input, {
      heatmapSize: HEATMAP_SIZE,
      divergenceRows: 0,
      received: false,
      rollout: [],
      queryMask: countedRows(batch, loss),
      ...analysis,
      forward: details,
    })
    const record: ProbeRecord = { step, loss: value, ...probedHeads(found), elapsedMs: performance.now() - startMs }
    this.#records.push(record)
    onRecord?.(record)
    return record
  }
}

/** Padding at the ends of sequences does not count: the last rows whose targets do not. */
function countedRows({ tokens, targets, mask, input }: Batch, loss: Loss): Tensor<Uint8Array> {
  const shape = tokens?.shape ?? input?.shape.slice(0, -1) ?? []
  const length = shape.at(-1) ?? 0
  const data = new Uint8Array(shape.reduce((product, size) => product * size, 1)).fill(1)
  const isIgnored = (row: number): boolean =>
    mask?.data[row] === 0 || (loss.kind === 'crossEntropy' && targets?.data[row] === loss.ignoreIndex)
  for (let start = 0; start < data.length; start += length) {
    for (let row = start + length - 1; row >= start && isIgnored(row); row--) data[row] = 0
  }
  return { data, shape }
}

function probedHeads({ layers }: ModelAnalysis): Pick<ProbeRecord, 'heads' | 'entropy' | 'axes'> {
  const heads = layers.flatMap(({ index, heads: all }) =>
    all.map(({ head, scores, roles, heatmap }): ProbedHead => ({ layer: index, head, scores, roles, heatmap })),
  )
  const entropy = heads.reduce((sum, { scores }) => sum + (scores.entropy?.value ?? 0), 0) / heads.length
  return { heads, entropy, axes: layers[0]?.axes ?? { sequence: 0, queries: [], keys: [] } }
}
