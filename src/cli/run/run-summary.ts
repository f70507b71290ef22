import type { Fallback } from '../../index.ts'
import { formatBytes } from '../../plan/explain.ts'
import type { Machine } from '../machine.ts'
import { formatDuration, formatInteger, formatNumber } from '../terminal/format.ts'
import { formatTable } from '../terminal/table.ts'
import type { Terminal } from '../terminal/terminal.ts'
import type { Growth } from './growth.ts'
import type { SourceText } from './load-text.ts'
import type { SelfCheck } from './self-check.ts'
import type { Measurement } from './word-attention.ts'
import type { WordSequence } from './words.ts'

interface PlanSummary {
  readonly machine: Machine
  readonly source: SourceText
  readonly words: WordSequence
  /** words of the whole text */
  readonly available: number
  readonly plan: string
}

export function printPlan(terminal: Terminal, { machine, source, words, available, plan }: PlanSummary): void {
  const { versions } = machine
  terminal.line(`heddle ${versions.heddle}, Node ${versions.node}, ${machine.cpu}, ${machine.cores} cores`)
  terminal.line(source.name)
  terminal.line(
    `${formatInteger(words.ids.length)} of ${formatInteger(available)} words, ${formatInteger(words.vocabulary.length)} of them distinct`,
  )
  if (source.hint !== undefined) terminal.line(source.hint)
  terminal.heading('Plan')
  terminal.line(plan)
}

export function printMain(
  terminal: Terminal,
  main: Measurement,
  check: SelfCheck,
  fallbacks: readonly Fallback[],
): void {
  terminal.heading('Attention')
  terminal.line(
    `  time       ${formatDuration(main.elapsedMs)}: ${formatInteger(main.tokensPerSecond)} tokens/s, ${formatNumber(main.gigaflopsPerSecond)} GFLOP/s`,
  )
  terminal.line(
    `  memory     ${formatBytes(main.peakBytes)} at the peak (planned: ${formatBytes(main.plannedBytes)}); the process grew by ${formatBytes(main.residentGrowthBytes)}`,
  )
  for (const { what, reason } of fallbacks) terminal.line(`  note       ${what}: ${reason}`)
  terminal.heading('Against a plain word count')
  for (const { name, passed, detail } of check.checks) {
    terminal.line(`  ${passed ? terminal.style('green', '✓') : terminal.style('red', '✗ FAILED')} ${name} (${detail})`)
  }
  const rows = check.words.map(({ word, count, expectedEntropy, entropy, worstWeightError }) => [
    word,
    formatInteger(count),
    expectedEntropy.toFixed(4),
    entropy.toFixed(4),
    formatNumber(worstWeightError),
  ])
  const columns = [
    { head: 'word', align: 'left' as const },
    { head: 'count' },
    { head: 'ln(count)' },
    { head: 'entropy' },
    { head: '|weight·count − 1|' },
  ]
  for (const line of formatTable(columns, rows)) terminal.line(`    ${line}`)
}

export function printGrowth(terminal: Terminal, { measurements, standardEnds }: Growth): void {
  terminal.heading('How both modes grow')
  const lengths = [...new Set(measurements.map(({ tokens }) => tokens))]
  const rows = lengths.map((tokens) => {
    const [chunked, standard] = (['chunked', 'standard'] as const).map((mode) =>
      measurements.find((found) => found.mode === mode && found.tokens === tokens),
    )
    return [formatInteger(tokens), ...cells(chunked), ...cells(standard)]
  })
  const columns = ['tokens', 'chunked', 'GFLOP/s', 'peak', 'standard', 'GFLOP/s', 'peak'].map((head) => ({ head }))
  for (const line of formatTable(columns, rows)) terminal.line(`  ${line}`)
  if (standardEnds !== undefined) terminal.line(`  ${standardEnds}`)
}

function cells(measurement: Measurement | undefined): string[] {
  if (measurement === undefined) return ['–', '–', '–']
  return [
    formatDuration(measurement.elapsedMs),
    formatNumber(measurement.gigaflopsPerSecond),
    formatBytes(measurement.peakBytes),
  ]
}
