import { createRuntime } from 'heddle'
import { loadModel } from 'heddle/models'
import { indexTexts, passagesOf, rank } from './search.js'

const SHOWN = 3
/** The example's own files; the bundler finds them by these expressions. */
const TINY_MODEL = {
  'config.json': new URL('./tiny-model/config.json', import.meta.url),
  'model.safetensors': new URL('./tiny-model/model.safetensors', import.meta.url),
  'tokenizer.json': new URL('./tiny-model/tokenizer.json', import.meta.url),
  'tokenizer_config.json': new URL('./tiny-model/tokenizer_config.json', import.meta.url),
}
const TEXTS = {
  'bread.txt': new URL('./texts/bread.txt', import.meta.url),
  'tides.txt': new URL('./texts/tides.txt', import.meta.url),
  'weaving.txt': new URL('./texts/weaving.txt', import.meta.url),
}

const element = (id) => document.getElementById(id)
const say = (text) => (element('status').textContent = text)
const runtime = createRuntime()
/** the model and the passages that questions are held against */
let index = null
let controller = null

async function fetched(url) {
  const response = await fetch(url)
  if (!response.ok) throw new Error(`expected ${url.pathname}, got HTTP status ${response.status}`)
  return response
}

const exampleModel = async (name) => (name in TINY_MODEL ? (await fetched(TINY_MODEL[name])).body : null)
const exampleTexts = () =>
  Promise.all(
    Object.entries(TEXTS).map(async ([name, url]) => ({
      name,
      passages: passagesOf(await (await fetched(url)).text()),
    })),
  )

/** Texts of a file input. @throws when one of them is empty */
async function chosenTexts(files) {
  const texts = await Promise.all(
    [...files].map(async (file) => ({ name: file.name, passages: passagesOf(await file.text()) })),
  )
  const empty = texts.find(({ passages }) => passages.length === 0)
  if (empty !== undefined) throw new Error(`expected some text in ${empty.name}, found none`)
  return texts
}

/** Runs `work` with a signal; while it runs, only Stop can be pressed. */
async function busy(work) {
  controller = new AbortController()
  const { signal } = controller
  setBusy(true)
  try {
    await work(signal)
  } catch (error) {
    say(signal.aborted ? 'Stopped.' : `${error.name}: ${error.message}`)
  } finally {
    controller = null
    setBusy(false)
  }
}

function setBusy(isBusy) {
  for (const id of ['index', 'example', 'model-files', 'text-files']) element(id).disabled = isBusy
  for (const id of ['question', 'search']) element(id).disabled = isBusy || index === null
  element('stop').disabled = !isBusy
}

function makeIndex(source, readTexts) {
  return busy(async (signal) => {
    index = null
    element('results').replaceChildren()
    say('Reading the model …')
    const onProgress = ({ loadedBytes, totalBytes }) => (element('progress').value = loadedBytes / totalBytes)
    const model = await loadModel(source, { signal, onProgress })
    const texts = await readTexts()
    say('Reading the texts …')
    let [done, passages] = [0, 0]
    const entries = await indexTexts(model, texts, {
      signal,
      runtime: await runtime,
      onProgress: ({ doneTokens, totalTokens }) => (element('progress').value = doneTokens / totalTokens),
      onText: (text) => {
        passages += text.passages
        say(`Read ${text.name}: ${text.tokens} tokens in one pass. ${++done} of ${texts.length} texts.`)
      },
    })
    index = { model, entries }
    say(`${passages} passages of ${texts.length} texts are indexed, by a ${model.plan.family} model. Ask something.`)
  })
}

function search(question) {
  return busy(async (signal) => {
    const { model, entries } = index
    const { embedding } = await model.embed(question, { normalize: true, signal, runtime: await runtime })
    const best = rank(entries, embedding.data).slice(0, SHOWN)
    element('results').replaceChildren(...best.map(resultItem))
    say(`The closest passage is in ${best[0].name}.`)
  })
}

function resultItem({ name, passage, score }) {
  const item = document.createElement('li')
  const head = document.createElement('p')
  head.className = 'source'
  head.textContent = `${name} · ${score.toFixed(3)}`
  const text = document.createElement('p')
  text.textContent = passage
  item.append(head, text)
  return item
}

element('index-form').addEventListener('submit', (event) => {
  event.preventDefault()
  const [model, texts] = [element('model-files').files, element('text-files').files]
  if (model.length === 0 || texts.length === 0) return say('Expected files of a model and at least one text.')
  makeIndex(model, () => chosenTexts(texts))
})
element('example').addEventListener('click', () => makeIndex(exampleModel, exampleTexts))
element('stop').addEventListener('click', () => controller?.abort())
element('search-form').addEventListener('submit', (event) => {
  event.preventDefault()
  search(element('question').value)
})
