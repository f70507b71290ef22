// Finds the passages of long texts that are closest to a question.
//
//   node main.js "what separates the warp threads?" [--model FOLDER] [--texts FOLDER]
//
// Without --model the tiny model beside this file is used, which has learned nothing: it only notices words. With a
// folder from the hub, such as nomic-ai/nomic-embed-text-v1.5, add the prefixes that its card names. index.html is the
// same as a page: npm run dev.
import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { createRuntime } from 'heddle'
import { loadModel } from 'heddle/models'
import { indexTexts, passagesOf, rank } from './search.js'

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
    names.map(async (name) => ({ name, passages: passagesOf(await readFile(path.join(folder, name), 'utf8')) })),
  )
}

const runtime = await createRuntime()
try {
  const model = await loadModel(values.model)
  console.log(`${model.plan.family}, vectors of ${model.modelDim}, texts of up to ${model.maxLength} tokens`)
  const onText = ({ name, passages, tokens }) =>
    console.log(`${name}: ${passages} passages, ${tokens} tokens in one pass`)
  const entries = await indexTexts(model, await readTexts(values.texts), { onText, runtime })
  const { embedding } = await model.embed(question, { normalize: true, runtime })
  console.log(`\n${question}`)
  for (const { name, passage, score } of rank(entries, embedding.data).slice(0, 3))
    console.log(`${score.toFixed(3)}  ${name}: ${passage.slice(0, 100)}…`)
} finally {
  await runtime.close()
}
