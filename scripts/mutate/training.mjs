// Faults in losses, optimizers, schedules, clipping and checkpoints.

/** @type {readonly import('./mutations.d.mts').Mutation[]} */
export const TRAINING_MUTATIONS = [
  {
    what: 'a rate reaches its minimum after its warm-up’s steps too late',
    file: 'src/train/schedules.ts',
    from: '(step - warmup) / (steps - warmup)',
    to: '(step - warmup) / steps',
    tests: ['tests/train/schedules.test.ts'],
  },
  {
    what: 'clipping by value takes negative gradients away',
    file: 'src/train/clip.ts',
    from: 'Math.max(-limit, Math.min',
    to: 'Math.max(0, Math.min',
    tests: ['tests/train/clip.test.ts'],
  },
  {
    what: 'Adam corrects ε too',
    file: 'src/train/optimizers/adam.ts',
    from: '(Math.sqrt(v) / correction + epsilon)',
    to: '((Math.sqrt(v) + epsilon) / correction)',
    tests: ['tests/train/optimizers/updates-equal-pytorch.test.ts'],
  },
  {
    what: 'a checkpoint forgets the best parameters',
    file: 'src/train/checkpoint.ts',
    from: '...prefixed(PREFIXES.bestParameters, bestParameters ?? {})',
    to: '...prefixed(PREFIXES.bestParameters, {})',
    tests: ['tests/train/checkpoints.test.ts'],
  },
  {
    what: 'one counter of a checkpoint decides for all',
    file: 'src/train/checkpoint.ts',
    from: '!counters.every(isSize)',
    to: '!counters.some(isSize)',
    tests: ['tests/train/checkpoints.test.ts'],
  },
  {
    what: 'masked targets count',
    file: 'src/train/losses.ts',
    from: ' || mask?.data[place] === 0)',
    to: ')',
    tests: ['tests/train/losses.test.ts'],
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
    tests: ['tests/train/optimizers/updates-equal-pytorch.test.ts'],
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
]
