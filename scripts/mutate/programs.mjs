// Faults in programs, gradients and training.

/** @type {readonly import('./mutations.mjs').Mutation[]} */
export const PROGRAM_MUTATIONS = [
  {
    what: 'every layer has the same dropout seed',
    file: 'src/core/seed.ts',
    from: 'philoxWords(words, seed, index, 0, 0, 0xffffffff)',
    to: 'philoxWords(words, seed, 0, 0, 0, 0xffffffff)',
    tests: ['tests/nn/dropout-masks.test.ts'],
  },
  {
    what: 'seeds derived in another way',
    file: 'src/core/seed.ts',
    from: '0, 0, 0xffffffff)',
    to: '0, 1, 0xffffffff)',
    tests: ['tests/nn/dropout-masks.test.ts', 'tests/nn/output-bits.test.ts'],
  },
  {
    what: 'a dropout counts only where it drops',
    file: 'src/program/operations/elementwise.ts',
    from: 'const site = graph.nextSite()',
    to: 'const site = probability === 0 ? 0 : graph.nextSite()',
    tests: ['tests/nn/dropout-masks.test.ts'],
  },
  {
    what: 'row dropout at p = 1',
    file: 'src/program/operations/elementwise.ts',
    from: 'keepScale: probability === 1 ? 0 : 1',
    to: 'keepScale: 1',
    tests: ['tests/nn/dropout-masks.test.ts'],
  },
  {
    what: 'the scratch of layers counts as clean after a retry',
    file: 'src/program/run.ts',
    from: 'this.clean = this.retries === 0',
    to: 'this.clean = true',
    tests: ['tests/nn/lost-workers.test.ts', 'tests/failures/reused-memory.test.ts'],
  },
  {
    what: 'clipping without its 1e-6',
    file: 'src/train/clip.ts',
    from: 'const factor = maxNorm / (norm + 1e-6)',
    to: 'const factor = maxNorm / norm',
    tests: ['tests/train/clip.test.ts'],
  },
  {
    what: 'AdamW shrinks by λ alone',
    file: 'src/train/optimizers/adam.ts',
    from: 'shrink: 1 - rate * hyperparameters.weightDecay',
    to: 'shrink: 1 - hyperparameters.weightDecay',
    tests: ['tests/train/optimizers.test.ts'],
  },
  {
    what: 'warmup begins at 0',
    file: 'src/train/schedules.ts',
    from: '(base * (step + 1)) / (warmup + 1)',
    to: '(base * step) / (warmup + 1)',
    tests: ['tests/train/schedules.test.ts'],
  },
  {
    what: 'a batch’s mask is ignored',
    file: 'src/train/batch.ts',
    from: '    ...(mask === undefined ? {} : { mask: perRow',
    to: '    ...(true ? {} : { mask: perRow',
    tests: ['tests/train/losses.test.ts', 'tests/train/loss-and-gradients.test.ts'],
  },
  {
    what: 'the gradient of a difference has the wrong sign',
    file: 'src/program/operations/elementwise.ts',
    from: 'scale(graph, dOutput, -1)',
    to: 'scale(graph, dOutput, 1)',
    tests: ['tests/program/operation-gradients.test.ts'],
  },
  {
    what: 'a bias has no gradient',
    file: 'src/program/operations/linear.ts',
    from: '    sumRows(tape, () => dOutput, bias)\n',
    to: '',
    tests: ['tests/program/operation-gradients.test.ts', 'tests/nn/gradients.test.ts'],
  },
]
