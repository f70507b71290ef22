// Faults in plans: how a call is cut, and what it may hold.

/** @type {readonly import('./mutations.d.mts').Mutation[]} */
export const PLAN_MUTATIONS = [
  {
    what: 'few rows over many keys are not cut',
    file: 'src/plan/key-splits.ts',
    from: 'queries > FEW_ROWS ? 1',
    to: 'queries > 0 ? 1',
    tests: ['tests/attention/few-rows.test.ts', 'tests/plan/key-splits.test.ts'],
  },
  {
    what: 'parts of the keys begin anywhere',
    file: 'src/plan/key-splits.ts',
    from: 'roundUp(ceilDivide(keys, wanted), SPLIT_STEP)',
    to: 'roundUp(ceilDivide(keys, wanted), 1)',
    tests: ['tests/plan/key-splits.test.ts'],
  },
  {
    what: 'seven rows cost less than eight',
    file: 'src/plan/chunk-rows.ts',
    from: ' * (roundUp(rows, 8) / rows) >=',
    to: ' >=',
    tests: ['tests/plan/chunk-rows.test.ts'],
  },
  {
    what: 'a lone lane gets a stage in one task without shared memory too',
    file: 'src/plan/chunk-rows.ts',
    from: 'if (lanes === 1 && sharedMemory)',
    to: 'if (lanes === 1)',
    tests: ['tests/plan/chunk-rows.test.ts'],
  },
  {
    what: 'a need takes a kept buffer of any size',
    file: 'src/plan/kept-buffers.ts',
    from: 'buffer.bytes >= bytes && buffer.bytes <= LARGEST_RATIO * bytes',
    to: 'buffer.bytes >= bytes',
    tests: ['tests/plan/kept-buffers.test.ts'],
  },
  {
    what: 'the smallest need chooses first',
    file: 'src/plan/kept-buffers.ts',
    from: '.sort((a, b) => b - a)',
    to: '.sort((a, b) => a - b)',
    tests: ['tests/plan/kept-buffers.test.ts'],
  },
  {
    what: 'what no call uses stays for ever',
    file: 'src/plan/kept-buffers.ts',
    from: '> MOST_LEFT_BYTES',
    to: '> Infinity',
    tests: ['tests/plan/kept-buffers.test.ts'],
  },
  {
    what: 'causal queries see their own key, whatever the window',
    file: 'src/plan/visibility.ts',
    from: 'causal ? Math.min(0, windowAfter)',
    to: 'causal ? 0',
    tests: ['tests/attention/negative-windows.test.ts'],
  },
  {
    what: 'kept buffers do not count against a budget',
    file: 'src/plan/choose-candidate.ts',
    from: 'candidate.budgetedBytes + keptBytes <= budgetBytes',
    to: 'candidate.budgetedBytes <= budgetBytes',
    tests: ['tests/failures/reused-memory.test.ts'],
  },
  {
    what: 'one task at a lane, however many there are',
    file: 'src/plan/attention-plan.ts',
    from: 'messages >= 4 * lanes ? 2 : 1',
    to: 'messages >= 4 * lanes ? 1 : 1',
    tests: ['tests/plan/attention-plan.test.ts'],
  },
]
