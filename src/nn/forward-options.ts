import type { Runtime } from '../attention/runtime.ts'
import { defaultRuntime } from '../attention/default-runtime.ts'
import { checkedSignal, checkFunction, checkInteger, checkNames, expected } from '../core/check.ts'
import { OptionError, ShapeError } from '../core/errors.ts'
import type { SeedWords } from '../core/philox.ts'
import { isShared } from '../core/shared-memory.ts'
import { checkTensor, formatShape, type Tensor } from '../core/tensor.ts'
import { seedWords, type Seed } from '../core/seed.ts'
import { measureNorms, type NormEvent } from './norm-monitor.ts'
import { isTiny, planProgram, type LayerPlan } from './stage/program-plan.ts'
import type { ProgramPart, StageProgram } from './stage/program.ts'
import { runProgram, type LayerReport, type ProgramResult } from './stage/run-program.ts'

/** A tensor that a forward pass made. */
export interface TraceEvent {
  /** the layer's path in the model and the part that ran */
  readonly layer: string
  readonly step: string
  readonly shape: readonly number[]
}

/** What every layer's `forward` takes. */
export interface ForwardOptions {
  /** @default the runtime that `attention` shares, made at first use */
  readonly runtime?: Runtime
  readonly signal?: AbortSignal
  /** Rows a task; never changes a result. @default chosen by the plan */
  readonly chunkSize?: number
  /** Needed where dropout is active: the same seed drops the same elements, on any machine. */
  readonly seed?: Seed
  /** Hears the shape of every tensor on the way, in order. */
  readonly trace?: (event: TraceEvent) => void
  /** Hears how each layer's output compares with its input. */
  readonly monitorNorms?: (event: NormEvent) => void
}

export interface LayerResult {
  readonly output: Tensor
  readonly report: LayerReport
}

/** The names of `ForwardOptions`, for checks. */
export const FORWARD_NAMES: readonly (keyof ForwardOptions)[] = ['runtime', 'signal', 'chunkSize', 'seed', 'trace', 'monitorNorms']

/** @throws {OptionError} for names beyond `extra` and `ForwardOptions`, or wrong values */
export function checkForward(what: string, options: unknown, extra: readonly string[] = []): void {
  checkNames(`${what}: options`, options, [...FORWARD_NAMES, ...extra])
  const { chunkSize, trace, monitorNorms, runtime, signal } = options as ForwardOptions
  checkedSignal(`${what}: option signal`, signal)
  if (chunkSize !== undefined) checkInteger(`${what}: option chunkSize`, chunkSize, 1)
  if (trace !== undefined) checkFunction(`${what}: option trace`, trace)
  if (monitorNorms !== undefined) checkFunction(`${what}: option monitorNorms`, monitorNorms)
  if (runtime !== undefined && typeof (runtime as Partial<Runtime> | null)?.stageHost !== 'function') throw expected(`${what}: option runtime`, 'a runtime made by createRuntime', runtime)
}

/** The seed of a forward pass. @throws {OptionError} where dropout is active and no seed was given */
export function dropoutSeed(what: string, active: boolean, seed: Seed | undefined): SeedWords | null {
  if (seed === undefined) {
    if (active) throw new OptionError(`${what}: expected option seed where dropout is active (training mode), got none`)
    return null
  }
  return seedWords(`${what}: option seed`, seed)
}

/** B and M of [B, M, width] or [M, width]. @throws {OptionError} {ShapeError} when it is no such tensor */
export function checkRows(what: string, value: unknown, width: number): { batch: number; rows: number } {
  checkTensor(what, Float32Array, value)
  return rowsOfShape(what, value.shape, width)
}

/** The same for a shape alone. */
export function rowsOfShape(what: string, shape: readonly number[], width: number): { batch: number; rows: number } {
  const [last, rows = 0, batch = 1] = shape.toReversed()
  if ((shape.length !== 2 && shape.length !== 3) || last !== width) {
    throw new ShapeError(`${what}: expected shape [B, M, ${width}] or [M, ${width}], got ${formatShape(shape)}`)
  }
  return { batch, rows }
}

/** Runs a program on the runtime of the options. */
export async function runForward(program: StageProgram, options: ForwardOptions, inputs: readonly Tensor<Float32Array | Int32Array>[]): Promise<ProgramResult> {
  const runtime = options.runtime ?? (await defaultRuntime())
  const sharedOutput = inputs.every((input) => isShared(input.data))
  return runProgram(program, runtime, { signal: options.signal, chunkSize: options.chunkSize, sharedOutput, onPart: observer(program, options) })
}

/** What a program would do on a runtime, without data. */
export function planForward(program: StageProgram, runtime: Runtime, chunkSize?: number): LayerPlan {
  const host = runtime.stageHost(isTiny(program, chunkSize))
  return planProgram(program, runtime, { chunkSize, plainOutput: host.transport === 'shared' })
}

function observer(program: StageProgram, { trace, monitorNorms }: ForwardOptions): ((part: ProgramPart) => void) | undefined {
  if (trace === undefined && monitorNorms === undefined) return undefined
  return (part) => {
    for (const { step, shape } of part.shapes) trace?.({ layer: part.name, step, shape })
    if (monitorNorms === undefined) return
    for (const watched of program.watched ?? []) if (watched.after === part) monitorNorms(measureNorms(watched))
  }
}
