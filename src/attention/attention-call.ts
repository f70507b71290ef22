import { OptionError } from '../core/errors.ts'
import { isShared } from '../core/shared-memory.ts'
import { formatShape, readTensor, type Tensor, type TensorData } from '../core/tensor.ts'
import { expected, checkNames } from '../core/check.ts'
import type { PlannedInput, PlanRequest } from '../plan/attention-request.ts'
import type { Transport } from '../plan/transport.ts'
import { keySplits } from '../plan/key-splits.ts'
import type { AttentionInputs, AttentionOptions } from './attention-options.ts'
import { resolveLayout, type InputShapes, type Layout } from './layout.ts'
import { overlaps, sameMemory } from '../scheduler/operands.ts'
import { checkOptionNames, resolveOptions, type ResolvedOptions } from './resolve-options.ts'
import { plannedResults, resultSpecs } from './results.ts'
import { selectionElements } from './weight-selection.ts'

/** A call after all checks. */
export interface CheckedCall {
  readonly layout: Layout
  readonly options: ResolvedOptions
}

/** What the runtime adds to a call when it plans it. */
export interface PlanContext {
  readonly transport: Transport
  readonly lanes: PlanRequest['lanes']
  readonly budgetBytes: number | undefined
  readonly budgetSource: string
  readonly kept?: readonly number[]
}

const INPUTS = ['query', 'key', 'value'] as const

/** A call with its inputs as they were when it was made. */
export interface InputCall extends CheckedCall {
  readonly inputs: AttentionInputs
}

/** Reads and checks a call. @throws {OptionError} {ShapeError} before anything is allocated */
export function checkCall(given: AttentionInputs, options: AttentionOptions): InputCall {
  const own = checkNames('attention: inputs', given, INPUTS)
  const read = (name: (typeof INPUTS)[number]): Tensor => readTensor(`attention: ${name}`, Float32Array, own[name])
  const inputs = { query: read('query'), key: read('key'), value: read('value') }
  const ownOptions = checkOptionNames(options)
  const call = checkShapes({ query: inputs.query.shape, key: inputs.key.shape, value: inputs.value.shape }, ownOptions)
  const { alibiSlopes, keyLengths, queryOffset } = ownOptions
  const numbers = [alibiSlopes, keyLengths, typeof queryOffset === 'number' ? undefined : queryOffset].filter(
    (array) => array !== undefined,
  )
  checkOut(call.options.out, [...INPUTS.map((name) => inputs[name].data), ...optionArrays(call.options), ...numbers])
  return { ...call, inputs }
}

/** Lanes write rows of the output while others still read the inputs, which are never changed. */
function checkOut(out: Float32Array | null, inputs: readonly ArrayBufferView[]): void {
  if (out !== null && inputs.some((input) => overlaps(input, out))) {
    throw new OptionError('attention: option out: expected memory of its own, got memory that overlaps an input')
  }
}

/** The caller's arrays among the options, which lanes read during the call. */
function optionArrays({ mask, bias, segments }: ResolvedOptions): TensorData[] {
  return [mask?.data, bias?.data, segments?.query, segments?.key].filter(
    (array) => array !== null && array !== undefined,
  )
}

/** What a call reads and writes of its caller's memory. */
export function borrowedArrays({ options }: CheckedCall, inputs: object): TensorData[] {
  const given = Object.values(inputs).flatMap((tensor: Tensor | undefined) => tensor?.data ?? [])
  return [...given, ...optionArrays(options), ...(options.out === null ? [] : [options.out])]
}

/** The same for shapes alone. */
export function checkShapes(shapes: InputShapes, options: AttentionOptions): CheckedCall {
  options = checkOptionNames(options)
  const layout = resolveLayout(shapes, options.heads, options.keyValueHeads)
  return { layout, options: resolveOptions(options, layout) }
}

/** Shapes out of what `runtime.plan` is given: shapes, or tensors, whose memory is then looked at. */
export function planInputs(inputs: unknown): {
  readonly shapes: InputShapes
  readonly arrays: Partial<AttentionInputs>
} {
  inputs = checkNames('plan: inputs', inputs, INPUTS)
  const given = inputs as Record<(typeof INPUTS)[number], unknown>
  const read = (name: (typeof INPUTS)[number]): readonly number[] => {
    const value = given[name]
    if (Array.isArray(value)) return value as number[]
    if (typeof value === 'object' && value !== null && 'shape' in value && Array.isArray(value.shape))
      return value.shape as number[]
    throw expected(`plan: ${name}`, `a shape such as ${formatShape(['B', 'H', 'N', 'D'])}, or a tensor`, value)
  }
  const arrays = Object.fromEntries(
    INPUTS.filter((name) => !Array.isArray(given[name])).map((name) => [name, given[name] as Tensor]),
  )
  return { shapes: { query: read('query'), key: read('key'), value: read('value') }, arrays }
}

/** Whether results stand in shared memory: they do where query, key and value do. */
export function resultsShared(arrays: Partial<AttentionInputs>): boolean {
  return INPUTS.every((name) => arrays[name] !== undefined && isShared(arrays[name].data))
}

/** What the plan needs to know of a call. Inputs whose memory is not known count as plain arrays, each its own. */
export function planRequest(
  { layout, options }: CheckedCall,
  arrays: Partial<AttentionInputs>,
  context: PlanContext,
): PlanRequest {
  const { sizes } = layout
  const shared = resultsShared(arrays)
  const selection = typeof options.weights === 'string' ? null : options.weights
  const results = plannedResults(resultSpecs(layout, options), layout, options, context.transport, shared)
  return {
    ...context,
    sizes,
    visibility: { ...options.settings, queryOffset: options.queryOffset, keyLength: options.keyLength },
    mode: options.mode,
    scoreInputs: scoreInputs(options, sizes.queries),
    chunkSize: options.chunkSize,
    keySplits: callSplits(layout, options).length,
    inputs: plannedInputs(layout, options, arrays),
    results,
    selection:
      selection === null || options.settings.standard
        ? null
        : { rows: [...new Set(selection.rows)].sort((a, b) => a - b), heads: new Set(selection.heads).size },
    fixedBytes: selection === null ? {} : { weights: selectionElements(sizes, selection) * 4 },
  }
}

function scoreInputs({ mask, bias, segments }: ResolvedOptions, queries: number): PlanRequest['scoreInputs'] {
  const matrices = [mask, bias].flatMap((part) =>
    part === null
      ? []
      : [{ elementBytes: part.data.BYTES_PER_ELEMENT, perRow: part.strides.row !== 0 || queries === 1 }],
  )
  return { matrices, segments: segments !== null }
}

/**
 * Partials merge output and log-sum-exp alone: with statistics, weights or the whole matrix the keys stay in one piece.
 */
export function callSplits({ sizes }: Layout, options: ResolvedOptions): { keyStart: number; keyEnd: number }[] {
  const whole = options.statistics || options.weights !== 'none' || options.settings.standard
  return whole ? [{ keyStart: 0, keyEnd: sizes.keys }] : keySplits(sizes)
}

function plannedInputs({ sizes }: Layout, options: ResolvedOptions, arrays: Partial<AttentionInputs>): PlannedInput[] {
  const { batch, heads, keyValueHeads, queries, keys, headSize, valueSize } = sizes
  const given = INPUTS.map((name) => arrays[name]?.data)
  const repeated = (index: number): boolean =>
    given
      .slice(0, index)
      .some((other) => other !== undefined && given[index] !== undefined && sameMemory(other, given[index]))
  const main = [
    { bytes: batch * heads * queries * headSize * 4, headBytes: 0, rowBytes: headSize * 4 },
    { bytes: batch * keyValueHeads * keys * headSize * 4, headBytes: keys * headSize * 4, rowBytes: 0 },
    { bytes: batch * keyValueHeads * keys * valueSize * 4, headBytes: keys * valueSize * 4, rowBytes: 0 },
  ].map((input, index): PlannedInput => {
    const data = given[index]
    return { ...input, shared: data !== undefined && isShared(data), bytes: repeated(index) ? 0 : input.bytes }
  })
  const overScores = [options.mask, options.bias].flatMap((part): PlannedInput[] => {
    if (part === null) return []
    const rowBytes =
      part.strides.row === 0 && queries > 1 ? 0 : (part.strides.column === 0 ? 1 : keys) * part.data.BYTES_PER_ELEMENT
    return [{ shared: isShared(part.data), bytes: part.data.byteLength, headBytes: 0, rowBytes }]
  })
  const segments = options.segments
  const numbers: PlannedInput[] =
    segments === null
      ? []
      : [
          { shared: isShared(segments.query), bytes: segments.query.byteLength, headBytes: 0, rowBytes: 4 },
          { shared: isShared(segments.key), bytes: segments.key.byteLength, headBytes: keys * 4, rowBytes: 0 },
        ]
  return [...main, ...overScores, ...numbers]
}
