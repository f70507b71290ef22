import { baselines, CharacterTokenizer, sequencesInOrder, splitItems } from 'heddle/train'
import { EDGE, HELD_OUT, ROWS, SEED, type NamesAnswer, type NamesRequest, type PreparedNames } from './names-format.ts'

// Counting and packing takes longer than a page may stand still.
addEventListener('message', ({ data }: MessageEvent<NamesRequest>) => {
  prepare(data.urls).then(
    (ok) => postMessage({ ok } satisfies NamesAnswer),
    (error: unknown) =>
      postMessage({ failure: error instanceof Error ? error.message : String(error) } satisfies NamesAnswer),
  )
})

async function prepare(urls: readonly string[]): Promise<PreparedNames> {
  const lists = await Promise.all(urls.map(fetchLines))
  const names = [...new Set(lists.flat().map((name) => name.trim().toLowerCase()))].filter((name) => name !== '').sort()
  const tokenizer = CharacterTokenizer.fromText(names.join('') + EDGE)
  const { training, validation } = splitItems(names, HELD_OUT, SEED)
  const encode = (list: readonly string[]): Int32Array[] => list.map((name) => tokenizer.encode(EDGE + name + EDGE))
  const [encoded, held] = [encode(training), sequencesInOrder(encode(validation), ROWS)]
  return {
    vocabulary: tokenizer.vocabulary,
    known: training,
    heldOut: validation,
    training: encoded,
    validation: held,
    baselines: baselines(sequencesInOrder(encoded, ROWS), held, tokenizer.size),
  }
}

async function fetchLines(url: string): Promise<string[]> {
  const response = await fetch(url)
  if (!response.ok) throw new Error(`expected a list of names, got status ${response.status}`)
  return (await response.text()).split('\n')
}
