import { formatShape } from '../core/tensor.ts'
import type { AttentionPlan } from './attention-request.ts'
import type { SegmentPlan } from './segment-call.ts'

/** A plan as lines for a terminal. */
export function explainPlan(plan: Omit<AttentionPlan, 'explain'>): string {
  const { sizes } = plan
  const query = formatShape([sizes.batch, sizes.heads, sizes.queries, sizes.headSize])
  const key = formatShape([sizes.batch, sizes.keyValueHeads, sizes.keys, sizes.headSize])
  const value = formatShape([sizes.batch, sizes.keyValueHeads, sizes.keys, sizes.valueSize])
  const lines = [
    `${plan.mode} attention   query ${query}  key ${key}  value ${value}`,
    `  work    ${formatCount(plan.flops)}FLOP in ${plan.tasks} task${plan.tasks === 1 ? '' : 's'} of up to ${plan.chunkRows} query rows`,
    `  lanes   ${plan.lanes} (${plan.laneKinds.join(', ')}), ${TRANSPORTS[plan.transport]}`,
    `  memory  ${formatBytes(plan.totalBytes)} in all`,
    ...Object.entries(plan.bytes).map(
      ([purpose, bytes]) => `    ${purpose.padEnd(14)} ${formatBytes(bytes).padStart(10)}`,
    ),
  ]
  if (plan.budgetBytes !== undefined)
    lines.push(
      `  budget  ${formatBytes(plan.budgetedBytes)} of ${formatBytes(plan.budgetBytes)} (the output is not counted)`,
    )
  if (plan.mode === 'chunked')
    lines.push(`  the full score matrix would take ${formatBytes(plan.standardBytes)}; it is never made`)
  return lines.join('\n')
}

/** The plan of attention backward, or of Pᵀ·X, as lines for a terminal. */
export function explainSegmentPlan(plan: Omit<SegmentPlan, 'explain'>): string {
  const { sizes } = plan
  const query = formatShape([sizes.batch, sizes.heads, sizes.queries, sizes.headSize])
  const key = formatShape([sizes.batch, sizes.keyValueHeads, sizes.keys, sizes.headSize])
  const segments = plan.keySegments === 1 ? 'one key segment' : `${plan.keySegments} key segments`
  const lines = [
    `${plan.call}   query ${query}  key ${key}  width ${sizes.valueSize}`,
    `  work    ${formatCount(plan.flops)}FLOP in ${plan.tasks} task${plan.tasks === 1 ? '' : 's'}, ${segments} per head`,
    `  lanes   ${plan.lanes} (${plan.laneKinds.join(', ')}), ${TRANSPORTS[plan.transport]}`,
    `  memory  ${formatBytes(plan.totalBytes)} in all`,
    ...Object.entries(plan.bytes).map(
      ([purpose, bytes]) => `    ${purpose.padEnd(14)} ${formatBytes(bytes).padStart(10)}`,
    ),
  ]
  if (plan.budgetBytes !== undefined)
    lines.push(
      `  budget  ${formatBytes(plan.budgetedBytes)} of ${formatBytes(plan.budgetBytes)} (results are not counted)`,
    )
  lines.push(`  one full score matrix would take ${formatBytes(plan.standardBytes)}; none is made`)
  return lines.join('\n')
}

const TRANSPORTS = {
  local: 'on the calling thread',
  shared: 'over shared memory',
  transfer: 'by transfer (no shared memory here)',
} as const

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']

/** Bytes with a binary unit: `12.5 MiB`. */
export function formatBytes(bytes: number): string {
  let unit = 0
  let value = bytes
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 2 : 1)} ${UNITS[unit]}`
}

/** A count with a decimal prefix: `1.25 G`, to stand before a unit. */
export function formatCount(count: number): string {
  const prefixes = ['', 'k', 'M', 'G', 'T', 'P']
  let prefix = 0
  let value = count
  while (value >= 1000 && prefix < prefixes.length - 1) {
    value /= 1000
    prefix++
  }
  return `${prefix === 0 ? Math.round(value) : value.toPrecision(3)} ${prefixes[prefix]}`
}
