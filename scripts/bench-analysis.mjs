// What an analysis of all heads costs against a plain forward pass: analyzeModel against the forward pass of a language
// model (E 512, 8 heads, pre-norm, head included), and analyzeAttention against attention alone (8 heads of 64).
// Causal. Token ids are drawn by Zipf's law, as words are. In turns; medians with the lowest and highest value. First
// checks a score against all weights.
//
// npm run bench:analysis -- [--tokens 512,2048,8192] [--workers 1] [--rounds 5] [--layers 2] [--vocabulary 4096]
// [--quick]
import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { thisMachine } from './bench/this-machine.mjs'

process.chdir(path.resolve(fileURLToPath(import.meta.url), '../..'))
const { values } = parseArgs({
  options: {
    tokens: { type: 'string', default: '512,2048,8192' },
    workers: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '5' },
    layers: { type: 'string', default: '2' },
    vocabulary: { type: 'string', default: '4096' },
    quick: { type: 'boolean', default: false },
  },
})
const { createRuntime } = await import('heddle')
const { CausalLanguageModel } = await import('heddle/nn')
const { analyzeAttention, analyzeModel } = await import('heddle/analysis')

const [HEADS, HEAD_SIZE] = [8, 64]
const vocabulary = Number(values.vocabulary)
const rounds = values.quick ? 2 : Number(values.rounds)
const runtime = await createRuntime({ workers: Number(values.workers) })
const model = new CausalLanguageModel({
  vocabulary,
  modelDim: HEADS * HEAD_SIZE,
  heads: HEADS,
  layers: Number(values.layers),
  activation: 'gelu',
  seed: 1,
})
const results = []
try {
  await checkScore()
  console.log(
    `Node ${process.versions.node}, ${values.workers} worker(s), ${values.layers} layers, vocabulary ${vocabulary}; medians of ${rounds}`,
  )
  for (const tokens of values.quick ? [256] : values.tokens.split(',').map(Number)) {
    const result = { tokens, model: await compareModel(tokens), attention: await compareAttention(tokens) }
    results.push(result)
    console.log(`  n ${tokens}`)
    for (const what of ['model', 'attention']) {
      const { forward, analysis, ratio } = result[what]
      console.log(
        `    ${what.padEnd(9)}  forward ${format(forward)}, analysis ${format(analysis)}: ${ratio.toFixed(2)} ×`,
      )
    }
  }
} finally {
  await runtime.close()
}
const machine = thisMachine()
await mkdir('build', { recursive: true })
await writeFile('build/bench-analysis.json', JSON.stringify({ machine, options: values, results }, null, 2))
console.log('written to build/bench-analysis.json')

async function compareModel(length) {
  const tokens = { data: zipfTokens(length), shape: [length] }
  return inTurns(
    () => model.forward(tokens, { runtime }),
    () => analyzeModel(model, tokens, { runtime }),
  )
}

async function compareAttention(length) {
  const { query, key, value } = inputs(length)
  const tokens = { data: zipfTokens(length), shape: [length] }
  return inTurns(
    () => runtime.attention({ query, key, value }, { causal: true }),
    () => analyzeAttention({ query, key, tokens }, { attention: { causal: true }, runtime }),
  )
}

async function inTurns(forward, analysis) {
  const times = { forward: [], analysis: [] }
  for (let round = -1; round < rounds; round++) {
    for (const [name, run] of [
      ['forward', forward],
      ['analysis', analysis],
    ]) {
      const startMs = performance.now()
      await run()
      if (round >= 0) times[name].push(performance.now() - startMs)
    }
  }
  const summaries = { forward: summary(times.forward), analysis: summary(times.analysis) }
  return { ...summaries, ratio: summaries.analysis.medianMs / summaries.forward.medianMs }
}

function summary(times) {
  const sorted = times.toSorted((a, b) => a - b)
  return { medianMs: sorted[sorted.length >> 1], lowestMs: sorted[0], highestMs: sorted.at(-1) }
}

function format({ medianMs, lowestMs, highestMs }) {
  return `${medianMs.toFixed(1)} ms (${lowestMs.toFixed(1)} to ${highestMs.toFixed(1)})`
}

function inputs(length) {
  const filled = (step) => {
    const made = runtime.tensor([1, HEADS, length, HEAD_SIZE])
    for (let at = 0; at < made.data.length; at++) made.data[at] = 2 * Math.sin(at * step)
    return made
  }
  return { query: filled(1.37), key: filled(2.11), value: filled(0.71) }
}

/** Token k + 1 about 1/k as often as the first, by a fixed sequence. */
function zipfTokens(length) {
  let state = 12345
  const uniform = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32
  return Int32Array.from({ length }, () => Math.min(vocabulary - 1, Math.floor(vocabulary ** uniform()) - 1))
}

/** The induction score of a head, from the whole matrix of weights. */
async function checkScore() {
  const length = 200
  const { query, key, value } = inputs(length)
  const data = zipfTokens(length)
  const { heads } = await analyzeAttention(
    { query, key, tokens: { data, shape: [length] } },
    { attention: { causal: true }, runtime },
  )
  const { weights } = await runtime.attention({ query, key, value }, { causal: true, returnWeights: true })
  for (const { head, scores } of heads) {
    let [sum, rows] = [0, 0]
    for (let i = 0; i < length; i++) {
      const keys = Array.from({ length: i + 1 }, (_, j) => j).filter((j) => j > 0 && data[j - 1] === data[i])
      if (keys.length === 0) continue
      rows++
      for (const j of keys) sum += weights.data[(head * length + i) * length + j]
    }
    if (Math.abs(sum / rows - scores.induction.value) > 1e-5)
      throw new Error(`head ${head}: expected an induction score of ${sum / rows}, got ${scores.induction.value}`)
  }
}
