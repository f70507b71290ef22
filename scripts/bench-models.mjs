// An encoder of BERT-base's size (12 layers, E 768, 12 heads, feed-forward 3072; random weights, written as a folder of
// the hub and loaded by heddle/models) beside the same encoder on onnxruntime-web, one thread each. Each contender runs
// in a process of its own, in turns. Hidden rows are compared before a time counts. Where onnxruntime-web fails, as its
// attention does from 4,096 tokens on, the table says how, and Heddle runs once, on two workers. Prints a line for each;
// writes build/bench-models.json, and with --write docs/models-bench.json and the table of docs/models.md.
//
//   npm run bench:models -- [--tokens 512,4032,4096,16384] [--rounds 3] [--turns 2] [--layers 12] [--quick]
//     [--write]
//
// --quick: an encoder of two small layers. Beyond LONG_TOKENS a contender runs once per turn, and beyond
// LONGEST_TOKENS in one turn only.
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { inProcess } from './bench/in-process.mjs'
import { installPeers, peersFolder } from './bench/peer-packages.mjs'
import { replaceBetween } from './bench/replace-between.mjs'
import { bundleForNode } from './bench/bundle.mjs'
import { thisMachine } from './bench/this-machine.mjs'

process.chdir(path.resolve(fileURLToPath(import.meta.url), '../..'))
const { values } = parseArgs({
  options: {
    tokens: { type: 'string' },
    rounds: { type: 'string', default: '3' },
    turns: { type: 'string', default: '2' },
    layers: { type: 'string' },
    quick: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
})
const [LONG_TOKENS, LONGEST_TOKENS, TIMEOUT_MS] = [1024, 4096, 400_000]
const [OURS, PEER] = ['heddle', 'onnxruntime-web']
/** Of rows behind a layer norm: float32 sums in another order, through twelve layers. */
const TOLERANCE = 1e-3
const BERT_BASE = { layers: 12, modelDim: 768, heads: 12, feedForwardDim: 3072, vocabulary: 30522, maxLength: 16384 }
const SMALL = { layers: 2, modelDim: 128, heads: 4, feedForwardDim: 512, vocabulary: 1000, maxLength: 512 }
const base = values.quick ? SMALL : BERT_BASE
const sizes = { ...base, layers: Number(values.layers ?? base.layers) }
const lengths = (values.tokens ?? (values.quick ? '64,256' : '512,4032,4096,16384')).split(',').map(Number)
const folder = path.resolve('build/bench-models')
const encoderFolder = path.join(folder, `${values.quick ? 'small' : 'bert-base'}-${sizes.layers}`)
const NODE = { script: `${folder}/node.mjs`, timeoutMs: TIMEOUT_MS }

const { spreadOf } = await bundle()
await installPeers([PEER])
await writeEncoder()
console.log(`${describe(sizes)}, Node ${process.versions.node}`)
const rows = []
for (const tokens of lengths) rows.push(...(await measureLength(tokens)))
const machine = thisMachine()
const json = `${JSON.stringify({ machine, sizes, rows }, null, 2)}\n`
await writeFile('build/bench-models.json', json)
console.log('written to build/bench-models.json')
if (values.write) {
  await writeFile('docs/models-bench.json', json)
  await replaceBetween('docs/models.md', '<!-- models:tokens -->', table())
}
process.exit(0)

async function bundle() {
  await bundleForNode(folder, { node: 'bench/models/node.ts', spread: 'src/cli/bench/spread.ts' })
  return import(pathToFileURL(`${folder}/spread.mjs`).href)
}

/** The encoder's files, in a process of their own; those of an earlier run with the same sizes stay. */
async function writeEncoder() {
  const mark = path.join(encoderFolder, 'sizes.json')
  const wanted = JSON.stringify(sizes)
  if ((await readFile(mark, 'utf8').catch(() => '')) === wanted) return
  const { failure } = await inProcess(NODE, [JSON.stringify({ write: sizes }), encoderFolder])
  if (failure !== undefined) throw new Error(`expected the files of an encoder, got: ${failure}`)
  await writeFile(mark, wanted)
}

/** Both contenders at one length, in turns. The peer begins: where it fails, Heddle runs alone and on two workers. */
async function measureLength(tokens) {
  const [peer, ours] = [rowOf(PEER, tokens), rowOf(OURS, tokens)]
  const turns = tokens > LONGEST_TOKENS ? 1 : Number(values.turns)
  const answers = []
  for (let turn = 0; turn < turns && (turn === 0 || peer.failure === undefined); turn++) {
    for (const row of turn % 2 === 0 ? [peer, ours] : [ours, peer]) {
      if (row === ours && peer.failure !== undefined) ours.workers = 2
      await addTurn(row, answers)
    }
  }
  const found = [ours, peer].map(withSpread)
  for (const row of found) console.log(lineOf(row, found[1]))
  return found
}

function rowOf(contender, tokens) {
  return { contender, workers: 1, tokens, times: [], peakBytes: 0, failure: undefined }
}

/** One process more for a row. A failure ends it, and so does an answer that differs from the first one. */
async function addTurn(row, answers) {
  if (row.failure !== undefined) return
  const { contender, workers, tokens } = row
  const once = tokens > LONG_TOKENS
  const outputFile = path.join(folder, 'hidden.f32')
  const bench = { contender, workers, tokens, vocabulary: sizes.vocabulary, outputFile }
  const rounds = once ? { warm: 0, rounds: 1 } : { warm: 1, rounds: Number(values.rounds) }
  const outcome = await inProcess(NODE, [JSON.stringify({ ...bench, ...rounds }), encoderFolder, peersFolder])
  // Without the folders of the machine that built it.
  row.failure = outcome.failure?.replaceAll(/(\/[\w.-]+)+\//g, '')
  if (row.failure !== undefined) return
  const answer = new Float32Array((await readFile(outputFile)).buffer)
  answers.push(answer)
  const off = answers[0].reduce((most, value, index) => Math.max(most, Math.abs(value - answer[index])), 0)
  if (!(off <= TOLERANCE))
    row.failure = `expected the answer of the other to ${TOLERANCE}, got one that is off by ${off}`
  row.off = Math.max(row.off ?? 0, off)
  row.times.push(...outcome.times)
  row.peakBytes = Math.max(row.peakBytes, outcome.peakBytes)
}

function withSpread({ times, ...row }) {
  if (row.failure !== undefined) return row
  const spread = spreadOf(times)
  return { ...row, ...spread, tokensPerSecond: (row.tokens / spread.medianMs) * 1000 }
}

function lineOf({ contender, workers, tokens, failure, ...row }, peer) {
  const head = `  n ${String(tokens).padEnd(6)} ${nameOf({ contender, workers }).padEnd(26)}`
  if (failure !== undefined) return `${head} ${failure.slice(0, 150)}`
  const { medianMs, lowMs, highMs, samples, tokensPerSecond, peakBytes, off } = row
  const ratio =
    contender === OURS && peer.failure === undefined ? `  ${(peer.medianMs / medianMs).toFixed(2)} × ${PEER}` : ''
  return `${head} ${tokensPerSecond.toFixed(0).padStart(5)} tokens/s  ${seconds(medianMs)} (${seconds(lowMs)} – ${seconds(highMs)}, ${samples} runs)  ${mebibytes(peakBytes)} resident  off by ${off.toExponential(1)}${ratio}`
}

function nameOf({ contender, workers }) {
  return `${contender}, ${workers} ${workers === 1 ? 'thread' : 'workers'}`
}

function seconds(ms) {
  return `${(ms / 1000).toFixed(2)} s`
}

function mebibytes(bytes) {
  return `${(bytes / 2 ** 20).toFixed(0)} MiB`
}

function describe({ layers, modelDim, heads, feedForwardDim, vocabulary }) {
  return `${layers} layers, E ${modelDim}, H ${heads}, feed-forward ${feedForwardDim}, V ${vocabulary}`
}

function table() {
  const lines = rows.map((row) => {
    const head = `| ${row.tokens.toLocaleString('en')} | ${nameOf(row)} |`
    return row.failure === undefined
      ? `${head} ${row.tokensPerSecond.toFixed(0)} | ${seconds(row.medianMs)} | ${mebibytes(row.peakBytes)} |`
      : `${head} fails: ${row.failure.slice(0, 150)} | | |`
  })
  return ['| n | | tokens/s | one pass | resident memory |', '| ---: | --- | ---: | ---: | ---: |', ...lines].join('\n')
}
