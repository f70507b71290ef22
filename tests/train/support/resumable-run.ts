/**
 * A run in a process of its own, for a test that kills it: `node resumable-run.mjs FILE STEPS` goes on from FILE where
 * it exists, and writes it anew after every step. It says the step on stdout.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { cosineAnnealing } from '../../../src/train/schedules.ts'
import { tinyRun } from './runs.ts'
import { tinyBatch, TinyModel } from './tiny-model.ts'

const [file = '', steps = ''] = process.argv.slice(2)
const save = (bytes: Uint8Array): void => {
  // A kill in the middle of writing must not leave half a file.
  writeFileSync(`${file}.new`, bytes)
  renameSync(`${file}.new`, file)
}
const run = tinyRun(new TinyModel(6, 4, 0.2), {
  steps: Number(steps),
  accumulate: 2,
  seed: 5,
  clipNorm: 1,
  schedule: cosineAnnealing({ steps: 400, warmup: 10 }),
  data: (index) => tinyBatch(index, { rows: 64 }),
  evaluate: { every: 3, data: [tinyBatch(9_000)], keepBest: true },
  checkpoint: { every: 1, save },
  ...(existsSync(file) ? { resume: readFileSync(file) } : {}),
})
for await (const { step } of run) process.stdout.write(`${step}\n`)
