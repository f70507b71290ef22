import type { AttentionOptions, WeightSelection } from '../../attention/attention-options.ts'
import type { AttentionInputs } from '../../attention/attention-options.ts'
import { attentionFlops } from '../../plan/attention-sizes.ts'
import { KEPT_PURPOSE } from '../../plan/kept-buffers.ts'
import type { SeedWords } from '../../core/philox.ts'
import type { Register } from '../../protocol/stage.ts'
import type { KeyValueCache } from '../key-value-cache.ts'
import { dataOf, HeadBuffer, RowBuffer, type StageBuffer } from '../stage/buffers.ts'
import type { AttentionCall, ProgramPart } from '../stage/program.ts'
import { StageAttention } from '../stage/stage-attention.ts'
import { StageBuilder } from '../stage/stage-builder.ts'
import type { AttentionProjections, Projection } from './attention-projections.ts'
import { resolveLayerAttention, toAttentionOptions, type LayerAttentionOptions, type LayerAttentionSizes } from './layer-attention-options.ts'

/** What a call wants to know of attention beside its output: then attention runs as a call of its own. */
export interface AttentionDetails {
  readonly returnWeights?: boolean | WeightSelection
  readonly returnLogSumExp?: boolean
  readonly returnStatistics?: boolean
}

/** Rows that are projected to keys and values: those of the queries, or others. */
export interface SourceRows {
  readonly buffer: RowBuffer
  /** from the loaded row to what is projected, as by a norm before it */
  readonly prepare: (builder: StageBuilder, loaded: Register) => Register
}

export interface AttentionPassOptions {
  readonly name: string
  readonly query: SourceRows
  /** absent: self-attention */
  readonly key?: SourceRows
  /** absent: as the key */
  readonly value?: SourceRows
  readonly options: LayerAttentionOptions
  readonly details: AttentionDetails
  readonly cache: KeyValueCache | null
  readonly seed: SeedWords | null
}

/** The parts before attention, and how the stage that holds it begins. */
export interface AttentionPass {
  readonly parts: readonly ProgramPart[]
  /** The context of the chunk's rows, [rows, H·D]: the first step of the stage that follows. */
  begin(builder: StageBuilder): Register
}

/** Builds multi-head attention up to the context: projections into buffers, then attention as a part of the next stage. */
export function attentionPass(projections: AttentionProjections, pass: AttentionPassOptions): AttentionPass {
  const { query, cache, details } = pass
  const source = pass.key ?? query
  const sizes: LayerAttentionSizes = {
    batch: query.buffer.batch,
    heads: projections.heads,
    keyValueHeads: projections.keyValueHeads,
    queries: query.buffer.rows,
    keys: (cache?.length ?? 0) + source.buffer.rows,
    headSize: projections.headSize,
  }
  const extras = { queryOffset: cache?.length ?? 0, dropout: projections.dropout, seed: projections.attentionSeed(pass.seed) }
  const options = toAttentionOptions(pass.name, sizes, pass.options, extras)
  const wantsDetails = Object.values(details).some((wanted) => wanted !== undefined && wanted !== false)
  const buffers = wantsDetails ? rowBuffers(sizes) : headBuffers(sizes, cache)
  const parts: ProgramPart[] = projectionStages(projections, pass, buffers)
  if (wantsDetails) return callPass(pass.name, sizes, options, details, parts, buffers as Record<Projection, RowBuffer>)
  const { query: q, key, value } = buffers as Record<Projection, HeadBuffer>
  const attention = new StageAttention(q, key, value, sizes.keys, resolveLayerAttention(sizes, options))
  return {
    parts,
    begin: (builder) => {
      builder.trace('context', sizes.batch, sizes.heads, sizes.queries, sizes.headSize)
      return builder.attend(attention)
    },
  }
}

function headBuffers({ batch, heads, keyValueHeads, queries, keys, headSize }: LayerAttentionSizes, cache: KeyValueCache | null): Record<Projection, HeadBuffer> {
  return {
    query: new HeadBuffer('queries', batch, heads, queries, headSize),
    key: cache?.key ?? new HeadBuffer('keys', batch, keyValueHeads, keys, headSize),
    value: cache?.value ?? new HeadBuffer('values', batch, keyValueHeads, keys, headSize),
  }
}

function rowBuffers({ batch, heads, keyValueHeads, queries, keys, headSize }: LayerAttentionSizes): Record<Projection, RowBuffer> {
  return {
    query: new RowBuffer('queries', batch, queries, heads * headSize),
    key: new RowBuffer('keys', batch, keys, keyValueHeads * headSize),
    value: new RowBuffer('values', batch, keys, keyValueHeads * headSize),
  }
}

/** One stage for each tensor that is projected: all three of self-attention come from one. */
function projectionStages(projections: AttentionProjections, pass: AttentionPassOptions, buffers: Record<Projection, StageBuffer>): ProgramPart[] {
  const past = pass.cache?.length ?? 0
  const sources = new Map<SourceRows, Projection[]>()
  const key = pass.key ?? pass.query
  for (const [name, source] of [['query', pass.query], ['key', key], ['value', pass.value ?? key]] as const) {
    sources.set(source, [...(sources.get(source) ?? []), name])
  }
  return [...sources].map(([{ buffer, prepare }, names]) => {
    const builder = new StageBuilder(pass.name, buffer.batch, buffer.rows)
    const rows = prepare(builder, builder.load(buffer))
    for (const name of names) projections.project(builder, name, rows, buffers[name], past, name === 'query' ? 0 : past)
    return builder.finish()
  })
}

/** Attention as a call of its own between two stages, which can return weights and statistics. */
function callPass(
  name: string, sizes: LayerAttentionSizes, options: AttentionOptions, details: AttentionDetails, parts: readonly ProgramPart[], buffers: Record<Projection, RowBuffer>,
): AttentionPass {
  const { batch, heads, keyValueHeads, queries, keys, headSize } = sizes
  const context = new RowBuffer('context', batch, queries, heads * headSize)
  const shapes = { query: [batch, queries, heads * headSize], key: [batch, keys, keyValueHeads * headSize], value: [batch, keys, keyValueHeads * headSize] }
  const full: AttentionOptions = { ...options, ...details, heads, keyValueHeads }
  const resolved = resolveLayerAttention(sizes, options)
  const tensorOf = (buffer: RowBuffer, shape: readonly number[]) => ({ data: dataOf(buffer) as Float32Array, shape })
  const call: AttentionCall = {
    name,
    reads: [buffers.query, buffers.key, buffers.value],
    writes: [{ buffer: context }],
    flops: attentionFlops({ ...sizes, valueSize: headSize }, { ...resolved.settings, queryOffset: resolved.queryOffset, keyLength: resolved.keyLength }),
    shapes: [{ step: 'weights', shape: [batch, heads, queries, keys] }, { step: 'context', shape: [batch, heads, queries, headSize] }],
    bytes: (runtime) => {
      const { totalBytes, bytes } = runtime.plan(shapes, full)
      return totalBytes - (bytes['lane arenas'] ?? 0) - (bytes['lane copies'] ?? 0) - (bytes[KEPT_PURPOSE] ?? 0)
    },
    run: (runtime, { signal, priority }) => {
      const inputs: AttentionInputs = { query: tensorOf(buffers.query, shapes.query), key: tensorOf(buffers.key, shapes.key), value: tensorOf(buffers.value, shapes.value) }
      return runtime.attention(inputs, { ...full, out: tensorOf(context, shapes.query), ...(signal === undefined ? {} : { signal }), ...(priority === undefined ? {} : { priority }) })
    },
  }
  return { parts: [...parts, call], begin: (builder) => builder.load(context) }
}
