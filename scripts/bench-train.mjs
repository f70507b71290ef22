// A training step (forward, backward, Adam) beside peers, its speed and memory against n, and where its time goes.
// Peers make the same steps first: their losses must be ours. What is compared takes turns. Prints tables; writes
// build/bench-train.json, and with --write docs/training-step.json and the tables of docs/performance.md.
//
// npm run bench:train -- [--parts step,growth,small] [--turns 3] [--sizes 512,1024,2048,4096,8192] [--quick] [--write]
//
// step    4 layers, E 256, H 4, V 4,096, B 4, n 512: Heddle on one thread and on two workers, jax-js (Node 22 or
//         later), tfjs-wasm and native PyTorch (/usr/bin/python3) on one thread each
// growth  the same model at B 1 over --sizes: tokens per second, peak memory beside the plan
// small   a character model as `heddle train --task names` has it, on one thread and on two workers
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { ended, inProcess } from './bench/in-process.mjs'
import { installPeers, peersFolder } from './bench/peer-packages.mjs'
import { replaceBetween } from './bench/replace-between.mjs'
import { bundleForNode, bundleTfjsGradients } from './bench/bundle.mjs'
import { hasPython, runPython } from './bench/run-python.mjs'
import { thisMachine } from './bench/this-machine.mjs'

process.chdir(path.resolve(fileURLToPath(import.meta.url), '../..'))
const { values } = parseArgs({
  options: {
    parts: { type: 'string', default: 'step,growth,small' },
    turns: { type: 'string', default: '3' },
    sizes: { type: 'string', default: '512,1024,2048,4096,8192' },
    quick: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
})
const parts = values.parts.split(',')
const turns = values.quick ? 1 : Number(values.turns)
const [TORCH, TIMEOUT_MS, WARM_STEPS] = ['PyTorch, native', 180_000, 1]
const [OURS, PAIR] = ['heddle, 1 worker', 'heddle, 2 workers']
/** Of the losses of each step: float32 sums in another order. */
const LOSS_TOLERANCE = 1e-3
const NAMES_SIZES = { layers: 3, modelDim: 64, heads: 4, vocabulary: 28, batch: 8, tokens: 128 }
const folder = path.resolve('build/bench-train')
const NODE = { script: `${folder}/node.mjs`, timeoutMs: TIMEOUT_MS }

const { spreadOf, STEP_SIZES, stepProblem } = await bundle()
const sizes = values.quick
  ? { ...STEP_SIZES, layers: 1, modelDim: 64, vocabulary: 256, batch: 2, tokens: 128 }
  : STEP_SIZES
const results = {}
if (parts.includes('step')) results.step = await measureStep()
if (parts.includes('growth'))
  results.growth = await measureGrowth(values.quick ? [128, 256] : values.sizes.split(',').map(Number))
if (parts.includes('small')) results.small = await measureSmall()
const machine = thisMachine()
const json = `${JSON.stringify({ machine, results }, null, 2)}\n`
await writeFile('build/bench-train.json', json)
console.log('written to build/bench-train.json')
if (values.write) await writeDocs()
process.exit(0)

async function bundle() {
  await bundleForNode(folder, {
    node: 'bench/train/node.ts',
    problem: 'bench/train/step-problem.ts',
    spread: 'src/cli/bench/spread.ts',
  })
  await bundleTfjsGradients(folder)
  const load = (file) => import(pathToFileURL(`${folder}/${file}.mjs`).href)
  return { ...(await load('spread')), ...(await load('problem')) }
}

async function measureStep() {
  const names = [OURS, PAIR, ...(await peerNames())]
  console.log(`one training step: ${describeSizes(sizes)}, Node ${process.versions.node}`)
  const rows = await inTurns(names, sizes, (name) => (name.startsWith('heddle') ? 6 : 3))
  const [ours] = rows
  for (const row of rows) printStep(row, ours)
  printWork(ours)
  printWork(rows[1])
  return { sizes, rows }
}

async function peerNames() {
  const names = ['tfjs-wasm']
  if (!values.quick) {
    await installPeers(['@jax-js/jax'])
    names.unshift('jax-js')
  }
  return hasPython ? [...names, TORCH] : names
}

/**
 * Each contender in a process of its own, one after the other and back again. The first one's losses are what others
 * must have.
 */
async function inTurns(names, problemSizes, stepsOf) {
  const rows = names.map((name) => ({ name, times: [], details: [], peakBytes: 0, failure: undefined }))
  let expected
  for (let turn = 0; turn < turns; turn++) {
    for (const row of turn % 2 === 0 ? rows : [...rows].reverse()) {
      if (row.failure !== undefined) continue
      const steps = WARM_STEPS + stepsOf(row.name)
      const outcome =
        row.name === TORCH
          ? await inPython(problemSizes, steps)
          : await inProcess(NODE, [row.name, JSON.stringify(problemSizes), steps, peersFolder])
      row.failure = outcome.failure ?? wrongLosses(expected ?? outcome.losses, outcome.losses)
      if (row.failure !== undefined) continue
      expected ??= outcome.losses
      row.losses ??= outcome.losses
      row.times.push(...outcome.times.slice(WARM_STEPS))
      row.details.push(...(outcome.details ?? []).slice(WARM_STEPS))
      row.peakBytes = Math.max(row.peakBytes, outcome.peakBytes)
    }
  }
  return rows.map(({ times, ...row }) => ({ ...row, ...(times.length === 0 ? {} : spreadOf(times)) }))
}

function wrongLosses(expected, losses) {
  const step = losses.findIndex(
    (loss, index) => index < expected.length && !(Math.abs(loss - expected[index]) <= LOSS_TOLERANCE * expected[index]),
  )
  return step < 0 ? undefined : `expected a loss of ${expected[step]} before step ${step + 1}, got ${losses[step]}`
}

function printStep({ name, medianMs, lowMs, highMs, peakBytes, failure }, ours) {
  if (failure !== undefined) return console.log(`  ${name.padEnd(18)} ${failure.slice(0, 120)}`)
  const ratio =
    name === ours.name || ours.medianMs === undefined
      ? ''
      : `  ${(medianMs / ours.medianMs).toFixed(2)} × the time of one worker`
  console.log(
    `  ${name.padEnd(18)} ${medianMs.toFixed(1).padStart(9)} ms (${lowMs.toFixed(1)} – ${highMs.toFixed(1)})  ${mebibytes(peakBytes).padStart(10)} resident${ratio}`,
  )
}

/**
 * Medians of each kind of work, in time of all lanes together; the rest of a step is the calling thread's, and waiting.
 */
function workOf({ details }) {
  const kinds = Object.keys(details[0]?.work ?? {})
  const median = (of) => spreadOf(details.map(of)).medianMs
  return {
    ...Object.fromEntries(kinds.map((kind) => [kind, median(({ work }) => work[kind] ?? 0)])),
    optimizer: median(({ updateMs }) => updateMs),
  }
}

function printWork(row) {
  if (row.failure !== undefined || row.details.length === 0) return
  const work = workOf(row)
  console.log(
    `  ${row.name}: ${Object.entries(work)
      .map(([kind, ms]) => `${kind} ${ms.toFixed(1)} ms`)
      .join(', ')}`,
  )
}

async function measureGrowth(lengths) {
  const rows = []
  console.log(`training over one sequence of n tokens, ${PAIR}`)
  for (const tokens of lengths) {
    const outcome = await inProcess(NODE, [
      PAIR,
      JSON.stringify({ ...sizes, batch: 1, tokens }),
      WARM_STEPS + (tokens > 2048 ? 2 : 4),
      peersFolder,
    ])
    if (outcome.failure !== undefined) {
      rows.push({ tokens, failure: outcome.failure })
      console.log(`  n ${tokens}  ${outcome.failure}`)
      continue
    }
    const { medianMs } = spreadOf(outcome.times.slice(WARM_STEPS))
    const last = outcome.details.at(-1)
    const row = {
      tokens,
      medianMs,
      tokensPerSecond: (tokens / medianMs) * 1000,
      peakBytes: last.peakBytes,
      plannedBytes: last.plannedBytes,
      residentBytes: outcome.peakBytes,
      work: workOf({ details: outcome.details.slice(WARM_STEPS) }),
    }
    rows.push(row)
    console.log(
      `  n ${String(tokens).padEnd(6)} ${medianMs.toFixed(1).padStart(9)} ms  ${row.tokensPerSecond.toFixed(0).padStart(6)} tokens/s  peak ${mebibytes(row.peakBytes)} of ${mebibytes(row.plannedBytes)} planned`,
    )
  }
  return rows
}

async function measureSmall() {
  console.log(`a small model: ${describeSizes(NAMES_SIZES)}`)
  const rows = await inTurns([OURS, PAIR], NAMES_SIZES, () => (values.quick ? 10 : 60))
  for (const row of rows) printStep(row, rows[0])
  for (const row of rows) printWork(row)
  return {
    sizes: NAMES_SIZES,
    rows: rows.map(({ details, ...row }) => ({
      ...row,
      work: row.failure === undefined ? workOf({ details }) : undefined,
    })),
  }
}

async function inPython(problemSizes, steps) {
  const nn = await import('heddle/nn')
  const { problem } = stepProblem(nn, problemSizes)
  const tensors = {
    ...problem.state,
    tokens: flat(problem.tokens),
    targets: flat(problem.targets),
    positions: { data: problem.positions, shape: [problemSizes.tokens, problemSizes.modelDim] },
  }
  await writeFile(
    `${folder}/problem.safetensors`,
    nn.writeSafetensors(tensors, { sizes: JSON.stringify(problemSizes) }),
  )
  try {
    return await runPython(['bench/train/torch_step.py', `${folder}/problem.safetensors`, 1, steps], TIMEOUT_MS)
  } catch (error) {
    return {
      failure: error.killed
        ? ended(null, 'SIGKILL', TIMEOUT_MS)
        : (error.message.split('\n').findLast((line) => /error/i.test(line)) ?? error.message),
    }
  }
}

function flat(data) {
  return { data, shape: [data.length] }
}

function describeSizes({ layers, modelDim, heads, vocabulary, batch, tokens }) {
  return `${layers} layers, E ${modelDim}, H ${heads}, V ${vocabulary}, B ${batch}, n ${tokens}`
}

function mebibytes(bytes) {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`
}

async function writeDocs() {
  await writeFile('docs/training-step.json', json)
  if (results.step !== undefined)
    await replaceBetween('docs/performance.md', '<!-- training:step -->', stepTable(results.step))
  if (results.step !== undefined)
    await replaceBetween('docs/performance.md', '<!-- training:work -->', workTable(results.step.rows.slice(0, 2)))
  if (results.growth !== undefined)
    await replaceBetween('docs/performance.md', '<!-- training:growth -->', growthTable(results.growth))
}

function stepTable({ rows }) {
  const [ours] = rows
  const lines = rows.map(({ name, medianMs, peakBytes, failure }) =>
    failure === undefined
      ? `| ${name} | ${medianMs.toFixed(0)} ms | ${(medianMs / ours.medianMs).toFixed(2)} × | ${mebibytes(peakBytes)} |`
      : `| ${name} | ${failure} | | |`,
  )
  return [
    '| | one step | against Heddle on one worker | resident memory |',
    '| --- | ---: | ---: | ---: |',
    ...lines,
  ].join('\n')
}

function workTable(rows) {
  const works = rows.filter(({ failure }) => failure === undefined).map((row) => ({ row, work: workOf(row) }))
  const kinds = Object.keys(works[0]?.work ?? {})
  const lines = kinds.map(
    (kind) => `| ${kind} | ${works.map(({ work }) => `${(work[kind] ?? 0).toFixed(1)} ms`).join(' | ')} |`,
  )
  return [
    `| | ${works.map(({ row }) => row.name).join(' | ')} |`,
    `| --- |${works.map(() => ' ---: |').join('')}`,
    ...lines,
    `| the whole step | ${works.map(({ row }) => `${row.medianMs.toFixed(1)} ms`).join(' | ')} |`,
  ].join('\n')
}

function growthTable(rows) {
  const lines = rows.map(({ tokens, medianMs, tokensPerSecond, peakBytes, plannedBytes, failure }) =>
    failure === undefined
      ? `| ${tokens.toLocaleString('en')} | ${medianMs.toFixed(0)} ms | ${tokensPerSecond.toFixed(0)} | ${mebibytes(peakBytes)} of ${mebibytes(plannedBytes)} |`
      : `| ${tokens.toLocaleString('en')} | ${failure} | | |`,
  )
  return ['| n | one step | tokens/s | peak, of what was planned |', '| ---: | ---: | ---: | ---: |', ...lines].join(
    '\n',
  )
}
