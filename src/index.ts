/**
 * Exact attention over long sequences, on workers: `attention` for a single call, `createRuntime` for a pool with
 * options of its own. The same runtime computes gradients (`attentionBackward`) and says beforehand what a call
 * takes (`plan`).
 *
 * @module heddle
 */

export { createRuntime } from './attention/create-runtime.ts'
export type { PlanInputs, Runtime } from './attention/runtime.ts'
export { drawDevToolsTracks } from './attention/devtools-tracks.ts'
export { attention, closeDefaultRuntime, configureDefaultRuntime } from './attention/default-runtime.ts'
export { mergePartials, type Partial as AttentionPartial } from './attention/merge-partials.ts'
export {
  bucketedRelativeBias,
  bucketTableGradient,
  positionBuckets,
  type BucketOptions,
} from './attention/position-buckets.ts'
export type { AskedResults, WithAsked } from './attention/asked-results.ts'
export type {
  AttentionChunk,
  AttentionInputs,
  AttentionOptions,
  AttentionProgress,
  AttentionReport,
  AttentionResult,
  AttentionStatistics,
  AttentionTaskEvent,
  AttentionWindow,
  WeightSelection,
} from './attention/attention-options.ts'
export type {
  AttentionBackwardInputs,
  AttentionBackwardOptions,
  AttentionBackwardResult,
  AttentionTransposedInputs,
  AttentionTransposedOptions,
  AttentionTransposedResult,
  SegmentReport,
} from './attention/backward-options.ts'
export type { CallReport } from './attention/call-report.ts'
export type { BackwardPlanInputs } from './attention/backward-call.ts'
export type { Capabilities } from './attention/capabilities.ts'
export type { KernelBinary, RuntimeOptions } from './attention/runtime-options.ts'
export type { BytesByPurpose, MemoryReport } from './core/ledger.ts'
export type { IntegerArray, IntegerTensor } from './core/integer-arrays.ts'
export { tensor, type Tensor, type TensorData } from './core/tensor.ts'
export {
  BackendUnavailableError,
  FormatError,
  HeddleError,
  MemoryBudgetError,
  NumericError,
  OptionError,
  ProtocolError,
  RuntimeClosedError,
  ShapeError,
  StoreError,
  WorkerLostError,
  type ErrorDetails,
  type HeddleErrorCode,
} from './core/errors.ts'
export type { AttentionMode, AttentionPlan } from './plan/attention-request.ts'
export type { Transport } from './plan/transport.ts'
export type { SegmentPlan } from './plan/segment-call.ts'
export type { Fallback } from './protocol/messages.ts'
export type { LaneFacts } from './scheduler/lane-facts.ts'
export type { LaneShare, Priority } from './scheduler/job.ts'
export type { RuntimeEventName, RuntimeEvents } from './scheduler/pool-events.ts'
export type { AnyWorker, NodeWorker } from './scheduler/spawn-worker.ts'
