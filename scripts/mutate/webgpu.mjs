// Faults in kernels, storage and plans of WebGPU.

/** @type {readonly import('./mutations.d.mts').Mutation[]} */
export const WEBGPU_MUTATIONS = [
  {
    what: 'WGSL: ties in the merge take the later key',
    file: 'src/backends/webgpu/kernels/attention-merge.wgsl.ts',
    from: 'if (largestKey == NO_KEY || state.x > m)',
    to: 'if (largestKey == NO_KEY || state.x >= m)',
    tests: ['tests/webgpu/attention.test.ts'],
  },
  {
    what: 'a GPU device’s refusal keeps the browser’s own class',
    file: 'src/backends/webgpu/engine.ts',
    from: '    if (isRefusedMap)\n      throw',
    to: '    if (false)\n      throw',
    tests: ['tests/webgpu/backend.test.ts'],
  },
  {
    what: 'WGSL: ALiBi favours what is far away',
    file: 'src/backends/webgpu/kernels/score-tile.wgsl.ts',
    from: 'score -= params.slope',
    to: 'score += params.slope',
    tests: ['tests/webgpu/attention.test.ts'],
  },
  {
    what: 'float16: ties go up',
    file: 'src/backends/webgpu/half.ts',
    from: '+ 0xfff + ((magnitude >>> 13) & 1)',
    to: '+ 0x1000',
    tests: ['tests/webgpu/variants.test.ts'],
  },
  {
    what: 'a GPU plan without the uniforms of a pass',
    file: 'src/plan/gpu-memory.ts',
    from: 'const uniforms = gpuBufferBytes(GPU_UNIFORM_BYTES.pass) + GPU',
    to: 'const uniforms = GPU',
    tests: ['tests/webgpu/plan-bytes.test.ts'],
  },
]
