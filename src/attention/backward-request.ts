import { isShared } from '../core/shared-memory.ts'
import type { Transport } from '../plan/transport.ts'
import type { SegmentInput, SegmentPlanRequest, SharedBias } from '../plan/segment-call.ts'
import { keySegmentCount } from '../plan/key-segments.ts'
import type { TaskArray } from '../protocol/task.ts'
import type { PlanContext } from './attention-call.ts'
import type { BackwardCall, SegmentCall, TransposedCall } from './backward-call.ts'
import type { BackwardArrays } from './backward-arrays.ts'
import { biasGradientKind, biasSumBytes, isSharedMatrix } from './bias-kind.ts'
import type { ScoreStrides } from './broadcast.ts'
import { isSliced, writesInPlace } from './gradient-placement.ts'
import { sameMemory } from '../scheduler/operands.ts'

/** What the plan of a backward call needs to know. Arrays that are not known count as plain ones, each its own. */
export function backwardRequest(
  call: BackwardCall,
  arrays: Partial<BackwardArrays>,
  context: PlanContext,
): SegmentPlanRequest {
  const { sizes } = call.layout
  const { batch, heads, keyValueHeads, queries, keys, headSize, valueSize } = sizes
  const rowBytes = heads * queries * 4
  const group = heads / Math.max(1, keyValueHeads)
  const { query, key, value, output, dOutput, logSumExp } = arrays
  const inPlace = isInPlace(context, [query, key, value, output, dOutput, logSumExp])
  const { keyBytes, sharedBias, fixedBytes } = biasRequest(call, inPlace, context.transport)
  const slotElements = group * queries * headSize
  return {
    ...context,
    call: 'attentionBackward',
    sizes,
    visibility: visibilityOf(call),
    taskHeads: keyValueHeads,
    flopsPerPair: 2 * (3 * headSize + 2 * valueSize),
    inputs: backwardInputs(call, arrays),
    results: {
      'query gradient': batch * rowBytes * headSize,
      'key gradient': batch * keyValueHeads * keys * headSize * 4,
      'value gradient': batch * keyValueHeads * keys * valueSize * 4,
    },
    returnedKeyBytes: inPlace ? 0 : (headSize + valueSize) * 4 + keyBytes,
    // Beside a slot a lane holds δ of its rows.
    slotBytes: (slotElements + group * queries) * 4,
    slicedSlots: isSliced(slotElements),
    sharedBias,
    fixedBytes,
  }
}

interface BiasRequest extends Pick<SegmentPlanRequest, 'sharedBias' | 'fixedBytes'> {
  /** bytes of a bias gradient that come back per key with a task, where they do */
  readonly keyBytes: number
}

function biasRequest(call: BackwardCall, inPlace: boolean, transport: Transport): BiasRequest {
  const { sizes } = call.layout
  const { bias } = call.options
  if (!call.biasGradient || bias === null) return { keyBytes: 0, sharedBias: null, fixedBytes: {} }
  const { batch, heads, keyValueHeads, queries, keys } = sizes
  const kind = biasGradientKind(bias.strides)
  const isShared = kind === 'matrix' && isSharedMatrix(bias.strides, sizes)
  const segments = keySegmentCount({ keys, taskHeads: batch * keyValueHeads })
  return {
    keyBytes: kind === 'matrix' && !isShared ? (heads / Math.max(1, keyValueHeads)) * queries * 4 : 0,
    sharedBias: isShared ? sharedBiasOf(call, bias.strides, inPlace, transport) : null,
    fixedBytes: {
      'bias gradient': bias.data.byteLength + (bias.table?.data.byteLength ?? 0),
      'bias sums': biasSumBytes(kind, sizes, segments),
    },
  }
}

function backwardInputs(call: BackwardCall, arrays: Partial<BackwardArrays>): SegmentInput[] {
  const { batch, heads, keyValueHeads, queries, keys, headSize, valueSize } = call.layout.sizes
  const rowBytes = heads * queries * 4
  const group = heads / Math.max(1, keyValueHeads)
  const groupBytes = group * queries * 4
  const inputs = new PlannedInputs()
  inputs.add(arrays.query, { bytes: batch * rowBytes * headSize, headBytes: groupBytes * headSize })
  inputs.add(arrays.key, { bytes: batch * keyValueHeads * keys * headSize * 4, keyBytes: headSize * 4 })
  inputs.add(arrays.value, { bytes: batch * keyValueHeads * keys * valueSize * 4, keyBytes: valueSize * 4 })
  inputs.add(arrays.output, { bytes: batch * rowBytes * valueSize, headBytes: groupBytes * valueSize })
  inputs.add(arrays.dOutput, { bytes: batch * rowBytes * valueSize, headBytes: groupBytes * valueSize })
  inputs.add(arrays.logSumExp, { bytes: batch * rowBytes, headBytes: groupBytes })
  inputs.addScoreInputs(call, group)
  return inputs.list
}

/** Tasks of a matrix that several heads share: each needs all of them. */
function sharedBiasOf(
  { layout: { sizes }, options }: BackwardCall,
  strides: ScoreStrides,
  inPlace: boolean,
  transport: Transport,
): SharedBias {
  const { mask, segments } = options
  const { batch, heads, queries, keys, headSize, valueSize } = sizes
  const taskHeads = (strides.batch === 0 ? 1 : batch) * (strides.head === 0 ? 1 : heads)
  const parts = (batch * heads) / Math.max(1, taskHeads)
  const maskRows = mask === null ? 0 : mask.strides.row === 0 ? 1 : queries
  const travels = transport === 'transfer'
  const segmentBytes = segments === null ? 0 : (queries + keys) * 4
  return {
    taskHeads,
    parts,
    flopsPerPair: 2 * (headSize + valueSize),
    keyBytes: (inPlace ? 0 : queries * 4) + (travels ? parts * ((headSize + valueSize + queries) * 4 + maskRows) : 0),
    // δ of every part's rows, which a lane holds.
    taskBytes:
      parts * queries * 4 + (travels ? parts * (queries * (headSize + 2 * valueSize + 1) * 4 + segmentBytes) : 0),
  }
}

type TransposedArrays = Partial<Record<'query' | 'key' | 'logSumExp' | 'rows', Float32Array>>

/** The same of Pᵀ·X. */
export function transposedRequest(
  call: TransposedCall,
  arrays: TransposedArrays,
  context: PlanContext,
): SegmentPlanRequest {
  const { batch, heads, keyValueHeads, queries, keys, headSize, valueSize } = call.layout.sizes
  const rows = batch * heads * queries * 4
  const inputs = new PlannedInputs()
  inputs.add(arrays.query, { bytes: rows * headSize, headBytes: queries * headSize * 4 })
  inputs.add(arrays.key, { bytes: batch * keyValueHeads * keys * headSize * 4, keyBytes: headSize * 4 })
  inputs.add(arrays.logSumExp, { bytes: rows, headBytes: queries * 4 })
  if (arrays.rows !== undefined)
    inputs.add(arrays.rows, { bytes: rows * valueSize, headBytes: queries * valueSize * 4 })
  inputs.addScoreInputs(call, 1)
  const inPlace = isInPlace(context, [
    arrays.query,
    arrays.key,
    arrays.logSumExp,
    ...(arrays.rows === undefined ? [] : [arrays.rows]),
  ])
  return {
    ...context,
    call: 'attentionTransposed',
    sizes: call.layout.sizes,
    visibility: visibilityOf(call),
    taskHeads: heads,
    flopsPerPair: 2 * (headSize + valueSize),
    inputs: inputs.list,
    results: { output: batch * heads * keys * valueSize * 4 },
    returnedKeyBytes: inPlace ? 0 : valueSize * 4,
    slotBytes: 0,
    slicedSlots: false,
    sharedBias: null,
    fixedBytes: {},
  }
}

function isInPlace({ transport }: PlanContext, arrays: readonly (Float32Array | undefined)[]): boolean {
  const known = arrays.filter((array) => array !== undefined)
  return writesInPlace(transport, known) && (transport === 'local' || known.length === arrays.length)
}

function visibilityOf({ options }: SegmentCall): SegmentPlanRequest['visibility'] {
  return { ...options.settings, queryOffset: options.queryOffset, keyLength: options.keyLength }
}

/** Inputs in a list; one that was given twice has its bytes once. */
class PlannedInputs {
  readonly list: SegmentInput[] = []
  readonly #given: TaskArray[] = []

  add(
    array: TaskArray | undefined,
    sizes: { readonly bytes: number; readonly headBytes?: number; readonly keyBytes?: number },
  ): void {
    const repeated = array !== undefined && this.#given.some((other) => sameMemory(other, array))
    if (array !== undefined) this.#given.push(array)
    this.list.push({
      headBytes: 0,
      keyBytes: 0,
      ...sizes,
      bytes: repeated ? 0 : sizes.bytes,
      shared: array !== undefined && isShared(array),
    })
  }

  /** Mask, bias and segments. @param group query heads of a task */
  addScoreInputs(
    {
      layout: {
        sizes: { queries, keys },
      },
      options: { mask, bias, segments },
    }: SegmentCall,
    group: number,
  ): void {
    for (const part of [mask, bias]) {
      if (part === null) continue
      const rows = part.strides.row === 0 ? 1 : queries
      this.add(part.data, { bytes: part.data.byteLength, keyBytes: group * rows * part.data.BYTES_PER_ELEMENT })
    }
    if (segments === null) return
    this.add(segments.query, { bytes: segments.query.byteLength, headBytes: queries * 4 })
    this.add(segments.key, { bytes: segments.key.byteLength, headBytes: keys * 4 })
  }
}
