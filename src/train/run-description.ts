import type { SeedWords } from '../core/philox.ts'
import { seedWords } from '../core/seed.ts'
import type { Loss } from './losses.ts'
import type { OptimizerDescription } from './optimizers/optimizer.ts'
import type { ResolvedTraining } from './train-options.ts'

/** Everything that decides about the bits of a run beside the model and the data, as plain data. */
export interface RunDescription {
  readonly loss: Loss
  readonly optimizer: OptimizerDescription
  readonly accumulate: number
  readonly clipNorm: number | null
  readonly seed: SeedWords
  readonly only: readonly string[]
  readonly skipNonFinite: boolean
  readonly evaluate: { readonly every: number; readonly patience: number | null; readonly keepBest: boolean } | null
  /** A schedule is code: the rates of some steps tell it from another. */
  readonly rates: readonly number[]
}

/** Where the rates stand among the leaves. */
const RATES = 'rates.'
const SAMPLED_STEPS = [0, ...Array.from({ length: 21 }, (_, power) => 2 ** power)]

export function describeRun({
  loss,
  optimizer,
  accumulate,
  clipNorm,
  seed,
  only,
  skipNonFinite,
  evaluate,
  schedule,
}: ResolvedTraining): RunDescription {
  return {
    loss,
    optimizer: optimizer.describe(),
    accumulate,
    clipNorm: clipNorm ?? null,
    seed: seedWords('train: option seed', seed),
    only,
    skipNonFinite,
    evaluate:
      evaluate === undefined
        ? null
        : {
            every: evaluate.every,
            patience: Number.isFinite(evaluate.patience) ? evaluate.patience : null,
            keepBest: evaluate.keepBest,
          },
    rates: SAMPLED_STEPS.map((step) => schedule(step, optimizer.learningRate)),
  }
}

/** Where two descriptions differ: `optimizer.groups.0.weightDecay: 0.1 in the checkpoint, 0 here`. */
export function describeDifferences(saved: unknown, own: unknown): string[] {
  const [before, after] = [new Map(leaves(saved, '')), new Map(leaves(own, ''))]
  const paths = [...new Set([...before.keys(), ...after.keys()])].filter((path) => before.get(path) !== after.get(path))
  const say = (path: string): string =>
    `${path}: ${before.get(path) ?? 'missing'} in the checkpoint, ${after.get(path) ?? 'missing'} here`
  // Another schedule, or another rate, differs in nearly all of its rates: the first one says it.
  const [firstRate, ...moreRates] = paths.filter((path) => path.startsWith(RATES))
  const others = paths.filter((path) => !path.startsWith(RATES)).map(say)
  if (firstRate === undefined) return others
  const step = SAMPLED_STEPS[Number(firstRate.slice(RATES.length))]
  const more = moreRates.length === 0 ? '' : `, and ${moreRates.length} later ones`
  return [...others, `rate after ${step} updates: ${say(firstRate).slice(firstRate.length + 2)}${more}`]
}

/** Every plain value under its path, as JSON. */
function leaves(value: unknown, path: string): [string, string][] {
  if (typeof value !== 'object' || value === null) return [[path, JSON.stringify(value) ?? 'undefined']]
  return Object.entries(value).flatMap(([name, inner]) => leaves(inner, path === '' ? name : `${path}.${name}`))
}
