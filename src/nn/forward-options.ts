import type { Runtime } from '../attention/runtime.ts'
import { checkPriority } from '../attention/resolve-options.ts'
import { checkedSignal, checkFunction, checkInteger, checkNames } from '../core/check.ts'
import { OptionError, ShapeError } from '../core/errors.ts'
import type { SeedWords } from '../core/philox.ts'
import { seedWords, type Seed } from '../core/seed.ts'
import { formatShape, readTensor, type Tensor } from '../core/tensor.ts'
import { checkRuntime } from '../program/host.ts'
import type { Value } from '../program/operation.ts'
import type { LayerReport } from '../program/run.ts'
import type { Priority } from '../scheduler/job.ts'
import type { NormEvent } from './norm-monitor.ts'

/** A tensor that a forward pass made. */
export interface TraceEvent {
  /** the path of the layer in the model */
  readonly layer: string
  /** what was computed: `linear1`, `logits` */
  readonly step: string
  /** as [B, M, size] */
  readonly shape: readonly number[]
}

/** What every layer's `forward` takes. */
export interface ForwardOptions {
  /** @default the runtime that `attention` shares, made at first use */
  readonly runtime?: Runtime
  /** An abort rejects with the signal's reason; nothing visible is written after it. */
  readonly signal?: AbortSignal
  /** Which of several waiting calls goes first, as for `attention`. @default 'normal' */
  readonly priority?: Priority
  /** Rows per task; never changes a result. @default chosen by the plan */
  readonly chunkSize?: number
  /** Needed where dropout is active: the same seed drops the same elements, on any machine. */
  readonly seed?: Seed
  /** Called with the shape of every tensor that is computed, in order. */
  readonly trace?: (event: TraceEvent) => void
  /** Called with how each layer's output compares with its input. */
  readonly monitorNorms?: (event: NormEvent) => void
}

/** What a layer's `forward` gives back. */
export interface LayerResult {
  /** [B, M, size], the caller's */
  readonly output: Tensor
  /** how the call was run, and what it took */
  readonly report: LayerReport
}

/** The names of `ForwardOptions`, for checks. */
export const FORWARD_NAMES: readonly (keyof ForwardOptions)[] = [
  'runtime',
  'signal',
  'priority',
  'chunkSize',
  'seed',
  'trace',
  'monitorNorms',
]

/** The options, each read once. @throws {OptionError} for names beyond `extra` and `ForwardOptions`, or wrong values */
export function checkForward<Options extends ForwardOptions>(
  what: string,
  options: Options,
  extra: readonly string[] = [],
): Options {
  const own = checkNames(`${what}: options`, options, [...FORWARD_NAMES, ...extra])
  const { chunkSize, trace, monitorNorms, runtime, signal, priority } = own
  checkPriority(`${what}: option priority`, priority)
  checkedSignal(`${what}: option signal`, signal)
  if (chunkSize !== undefined) checkInteger(`${what}: option chunkSize`, chunkSize, 1)
  if (trace !== undefined) checkFunction(`${what}: option trace`, trace)
  if (monitorNorms !== undefined) checkFunction(`${what}: option monitorNorms`, monitorNorms)
  checkRuntime(`${what}: option runtime`, runtime)
  return own
}

/** The seed of a forward pass. @throws {OptionError} where dropout is active and no seed was given */
export function dropoutSeed(what: string, active: boolean, seed: Seed | undefined): SeedWords | null {
  if (seed === undefined) {
    if (active) throw new OptionError(`${what}: expected option seed where dropout is active (training mode), got none`)
    return null
  }
  return seedWords(`${what}: option seed`, seed)
}

/** A tensor [B, M, width] or [M, width], read once. @throws {OptionError} {ShapeError} when it is no such tensor */
export function readRows(what: string, value: unknown, width: number): Tensor {
  const tensor = readTensor(what, Float32Array, value)
  rowsOfShape(what, tensor.shape, width)
  return tensor
}

/** The same for a shape alone. */
export function rowsOfShape(what: string, shape: readonly number[], width: number): { batch: number; rows: number } {
  const [last, rows = 0, batch = 1] = shape.toReversed()
  if ((shape.length !== 2 && shape.length !== 3) || last !== width) {
    throw new ShapeError(`${what}: expected shape [B, M, ${width}] or [M, ${width}], got ${formatShape(shape)}`)
  }
  return { batch, rows }
}

/** The shape of an output whose input had this one: [B, M, width], or without B where the input had none. */
export function outputShape(inputShape: readonly number[], input: Value, output: Value): number[] {
  const lead = input.integers ? inputShape : inputShape.slice(0, -1)
  return [...lead.slice(0, -1), output.rows, output.width]
}

/** B and M of [B, M] or [M]. @throws {ShapeError} for other ranks */
export function tokenRowsOfShape(what: string, shape: readonly number[]): { batch: number; rows: number } {
  const [rows = 0, batch = 1] = shape.toReversed()
  if (shape.length !== 1 && shape.length !== 2)
    throw new ShapeError(`${what}: expected shape [B, M] or [M], got ${formatShape(shape)}`)
  return { batch, rows }
}
