import { VECTOR_SIZE, type ReadAnswer, type ReadRequest, type ReadText } from './messages.ts'
import { placeVectors } from './place-vectors.ts'
import { splitWords } from './split-words.ts'

// A book takes a second: more than a page may stand still.
addEventListener('message', ({ data }: MessageEvent<ReadRequest>) => {
  readText(data).then(
    (ok) => answer({ ok }, ok),
    (error: unknown) => answer({ failure: error instanceof Error ? error.message : String(error) }),
  )
})

async function readText({ source, limit, shared }: ReadRequest): Promise<ReadText> {
  const text =
    'url' in source
      ? await fetchText(source.url)
      : typeof source.text === 'string'
        ? source.text
        : decode(new Uint8Array(await source.text.arrayBuffer()))
  const { count, vocabulary, ids, starts, ends } = splitWords(text, limit)
  const bytes = ids.length * VECTOR_SIZE * 4
  const vectors = new Float32Array(shared ? new SharedArrayBuffer(bytes) : new ArrayBuffer(bytes))
  placeVectors(ids, vocabulary, vectors)
  return { text: text.slice(0, (ends.at(-1) ?? 0) + LAST_MARK), words: count, vocabulary, ids, starts, ends, vectors }
}

/** Characters after the last word: its full stop. */
const LAST_MARK = 1

async function fetchText(url: string): Promise<string> {
  const response = await fetch(url)
  if (!response.ok) throw new Error(`expected the text of the book, got status ${response.status}`)
  return response.text()
}

/**
 * Text in UTF-8, or in UTF-16 with its mark, as some editors write it.
 *
 * @throws where it is neither
 */
function decode(bytes: Uint8Array): string {
  const encoding = bytes[0] === 0xff && bytes[1] === 0xfe ? 'utf-16le' : 'utf-8'
  try {
    const text = new TextDecoder(encoding, { fatal: true }).decode(bytes)
    if (!text.includes('\0')) return text
  } catch {
    // Said below.
  }
  throw new Error('expected a text in UTF-8, got a binary file or another encoding')
}

function answer(message: ReadAnswer, content?: ReadText): void {
  const buffers =
    content === undefined
      ? []
      : [content.ids, content.starts, content.ends, content.vectors].map(({ buffer }) => buffer)
  postMessage(message, { transfer: buffers.filter((buffer): buffer is ArrayBuffer => buffer instanceof ArrayBuffer) })
}
