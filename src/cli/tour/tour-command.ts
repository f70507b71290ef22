import path from 'node:path'
import { createRuntime } from '../../index.ts'
import type { TraceEvent } from '../../nn/index.ts'
import { EXIT, type Command, type CommandContext } from '../command.ts'
import { heatmap } from '../../plots/heatmap.ts'
import { prepareFolder, writeHere } from '../report/write-report.ts'
import { flag, stringOption, workersOption, WORKERS } from '../option-values.ts'
import { formatInteger } from '../terminal/format.ts'
import { formatTable } from '../terminal/table.ts'
import type { Terminal } from '../terminal/terminal.ts'
import { UsageError } from '../usage-error.ts'
import { HEAD_SIZE, MODEL, takeTour, type Tour } from './tour-steps.ts'

const LONGEST_SENTENCE = 12

export const tourCommand: Command = {
  name: 'tour',
  summary: 'a walk through a transformer over "I love you": weights, heads, positions, a block',
  options: {
    sentence: { type: 'string', value: 'TEXT', summary: 'other words to walk with (default: "I love you")' },
    shapes: { type: 'boolean', summary: 'show the shape of every tensor on the way' },
    out: { type: 'string', value: 'DIR', summary: 'folder of the picture of the positions (default: heddle-report)' },
    workers: WORKERS,
    json: { type: 'boolean', summary: 'print everything as JSON' },
  },
  run: tour,
}

async function tour({ values, terminal }: CommandContext): Promise<number> {
  const sentence = stringOption(values, 'sentence') ?? 'I love you'
  const words = sentence.split(/\s+/).filter((word) => word !== '').length
  if (words < 1 || words > LONGEST_SENTENCE)
    throw new UsageError(`--sentence: expected one to ${LONGEST_SENTENCE} words, got ${words}`)
  const runtime = await createRuntime({ workers: workersOption(values) })
  try {
    const taken = await takeTour(runtime, sentence)
    printAttention(terminal, taken)
    printMultiHead(terminal, taken, flag(values, 'shapes'))
    printPositions(terminal, taken)
    printBlock(terminal, taken, flag(values, 'shapes'))
    const picture = await writePicture(stringOption(values, 'out') ?? 'heddle-report', taken)
    terminal.line()
    terminal.line(`Picture of the positions  ${picture}`)
    if (flag(values, 'json')) terminal.json({ format: 'heddle-tour/1', ...taken })
    return taken.block.count === taken.block.expectedCount ? EXIT.ok : EXIT.failedCheck
  } finally {
    await runtime.close()
  }
}

const shapeText = (shape: readonly number[]): string => `[${shape.join(', ')}]`

function printAttention(terminal: Terminal, { words, attention }: Tour): void {
  terminal.heading(
    `1  Scaled dot-product attention: "${words.join(' ')}", ${words.length} tokens, d_k ${HEAD_SIZE}, Q = K = V`,
  )
  terminal.line(
    `   ${Object.entries(attention.shapes)
      .map(([name, shape]) => `${name} ${shapeText(shape)}`)
      .join('  ')}`,
  )
  terminal.line()
  const columns = [{ head: 'token', align: 'left' as const }, ...words.map((word) => ({ head: word })), { head: 'sum' }]
  const rows = words.map((word, row) => [
    word,
    ...(attention.weights[row] ?? []).map((weight) => weight.toFixed(4)),
    (attention.rowSums[row] ?? 0).toFixed(6),
  ])
  for (const line of formatTable(columns, rows)) terminal.line(`   ${line}`)
}

function printMultiHead(terminal: Terminal, { multiHead }: Tour, shapes: boolean): void {
  terminal.heading(
    `2  Multi-head attention: d_model ${MODEL.modelDim}, ${MODEL.heads} heads of ${MODEL.modelDim / MODEL.heads}, batch 2, 4 tokens`,
  )
  for (const [name, shape] of Object.entries(multiHead.parameters))
    terminal.line(`   ${name} ${shapeText(shape)} and a bias`)
  terminal.line(`   weights ${shapeText(multiHead.weights)}; ${formatInteger(multiHead.count)} parameters`)
  if (shapes) printTrace(terminal, multiHead.trace)
}

function printPositions(terminal: Terminal, { positions }: Tour): void {
  terminal.heading('3  Positional encoding: sine on even dimensions, cosine on odd ones')
  const numbers = (values: readonly number[]): string => values.map((value) => value.toFixed(4).padStart(8)).join('')
  positions.tokens.forEach(({ word, before, after }, position) => {
    terminal.line(`   ${position} ${word.padEnd(10)} before ${numbers(before)} …`)
    terminal.line(`     ${''.padEnd(10)} after  ${numbers(after)} …`)
  })
}

function printBlock(terminal: Terminal, { block }: Tour, shapes: boolean): void {
  const { modelDim, feedForwardDim } = MODEL
  terminal.heading(
    `4  A transformer block: attention, residual, norm, feed-forward ${modelDim} → ${feedForwardDim} → ${modelDim}, residual, norm`,
  )
  const same =
    block.count === block.expectedCount
      ? 'as the formula says'
      : `the formula says ${formatInteger(block.expectedCount)}`
  terminal.line(`   ${formatInteger(block.count)} parameters (${same})`)
  if (block.norms !== undefined) {
    const { inputNorm, outputNorm, ratio, warning } = block.norms
    terminal.line(
      `   norm in ${inputNorm.toFixed(2)}, out ${outputNorm.toFixed(2)}, ratio ${ratio.toFixed(2)}${warning ? ' (above 10: unstable)' : ''}`,
    )
  }
  if (shapes) printTrace(terminal, block.trace)
}

function printTrace(terminal: Terminal, trace: readonly TraceEvent[]): void {
  terminal.line()
  for (const { step, shape } of trace) terminal.line(`   ${step.padEnd(18)} ${shapeText(shape)}`)
}

async function writePicture(folder: string, { positions }: Tour): Promise<string> {
  await prepareFolder(folder)
  const file = path.join(folder, 'tour-positions.svg')
  const svg = heatmap({
    title: 'Positional encoding: the first positions and dimensions',
    values: positions.values.flat(),
    rows: positions.values.length,
    columns: positions.values[0]?.length ?? 0,
    x: { label: 'dimension' },
    y: { label: 'position' },
    value: { label: 'value' },
    scale: 'diverging',
    domain: [-1, 1],
  })
  await writeHere(file, `${svg}\n`)
  return file
}
