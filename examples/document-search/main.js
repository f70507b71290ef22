// Finds the passages of long texts that are closest to a question.
//
//   node main.js "what separates the warp threads?" [--model FOLDER] [--texts FOLDER]
//
// Each text goes through the model whole, and each paragraph gets a vector out of that one pass ("late chunking"), so
// that it is read in its context. Without --model the tiny model beside this file is used, which has learned nothing:
// it only notices words. With a folder from the hub, such as nomic-ai/nomic-embed-text-v1.5, add the prefixes that its
// card names.
import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { createRuntime } from 'heddle'
import { loadModel } from 'heddle/models'

const here = (name) => fileURLToPath(new URL(name, import.meta.url))
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: 'string', default: here('tiny-model') },
    texts: { type: 'string', default: here('texts') },
  },
})
const question = positionals[0] ?? 'Which part of a loom separates the warp threads?'

/** Each text of a folder as its paragraphs. */
async function readTexts(folder) {
  const names = (await readdir(folder)).filter((name) => /\.(txt|md)$/.test(name)).sort()
  return Promise.all(
    names.map(async (name) => ({
      name,
      passages: (await readFile(path.join(folder, name), 'utf8'))
        .split(/\n\s*\n/)
        .map((each) => each.trim())
        .filter((each) => each !== ''),
    })),
  )
}

/**
 * Every passage with its vector. Texts come one after the other: an index of any size needs the memory of a few of
 * them.
 */
async function indexTexts(model, texts, runtime) {
  const entries = []
  const documents = texts.map(({ passages }) => ({ passages }))
  for await (const { index, spans, tokens } of model.embedStream(documents, { normalize: true, runtime })) {
    const { name, passages } = texts[index]
    console.log(`${name}: ${passages.length} passages, ${tokens} tokens in one pass`)
    passages.forEach((passage, at) =>
      entries.push({ name, passage, vector: spans.data.subarray(at * model.modelDim, (at + 1) * model.modelDim) }),
    )
  }
  return entries
}

/**
 * Entries by their cosine with the question. What all passages have in common tells nothing about any of them, and is
 * taken off.
 */
function rank(entries, vector) {
  const mean = vector.map((_, c) => entries.reduce((sum, entry) => sum + entry.vector[c], 0) / entries.length)
  const centred = (values) => values.map((value, c) => value - mean[c])
  const cosine = (a, b) => a.reduce((sum, value, c) => sum + value * b[c], 0) / (Math.hypot(...a) * Math.hypot(...b))
  const asked = centred(vector)
  return entries
    .map((entry) => ({ ...entry, score: cosine(centred(entry.vector), asked) }))
    .sort((a, b) => b.score - a.score)
}

const runtime = await createRuntime()
try {
  const model = await loadModel(values.model)
  console.log(`${model.plan.family}, vectors of ${model.modelDim}, texts of up to ${model.maxLength} tokens`)
  const entries = await indexTexts(model, await readTexts(values.texts), runtime)
  const { embedding } = await model.embed(question, { normalize: true, runtime })
  console.log(`\n${question}`)
  for (const { name, passage, score } of rank(entries, embedding.data).slice(0, 3))
    console.log(`${score.toFixed(3)}  ${name}: ${passage.slice(0, 100)}…`)
} finally {
  await runtime.close()
}
