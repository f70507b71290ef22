// Faults in kernels, which are compiled again for each.

/** @type {readonly import('./mutations.d.mts').Mutation[]} */
export const KERNEL_MUTATIONS = [
  {
    what: 'kernel: layer norm without epsilon',
    file: 'assembly/row-norm.ts',
    from: 'inverseDeviation(x, size, mean, epsilon)\n    if (bias == 0)',
    to: 'inverseDeviation(x, size, mean, 0)\n    if (bias == 0)',
    tests: ['tests/kernels/rows.test.ts'],
  },
  {
    what: 'kernel: the tail of a normalised row',
    file: 'assembly/row-norm.ts',
    from: 'store<f32>(y + at, (load<f32>(x + at) - mean) * inverse)',
    to: 'store<f32>(y + at, load<f32>(x + at) * inverse)',
    tests: ['tests/kernels/row-norm-gradients.test.ts', 'tests/kernels/rows.test.ts'],
  },
  {
    what: 'kernel: the gradient of RMS norm subtracts the mean',
    file: 'assembly/row-norm-backward.ts',
    from: 'weight == 0) backwardRow(x, dy, size, 0, inverse, 0, false, false, dx)',
    to: 'weight == 0) backwardRow(x, dy, size, 0, inverse, 0, false, true, dx)',
    tests: ['tests/kernels/row-norm-gradients.test.ts'],
  },
  {
    what: 'gradient of tanh: 2u/(1 + u) in place of 4u/(1 + u)²',
    file: 'assembly/row-activation-backward.ts',
    from: 'f32x4.mul(f32x4.mul(u, inverse), inverse)',
    to: 'f32x4.mul(u, inverse)',
    tests: ['tests/kernels/row-activation-gradients.test.ts'],
  },
  {
    what: 'kernel: another last bit in 2^x',
    file: 'assembly/exp2.ts',
    from: '0.24022242426872253',
    to: '0.24022243916988373',
    tests: ['tests/attention/portable-engines.test.ts'],
  },
]
