import { USAGE, MAP_READ } from '../../src/backends/webgpu/constants.ts'
import type { GpuDevice } from '../../src/backends/webgpu/gpu-device.ts'

const GROUPS = 4096
const INVOCATIONS = 64
const CHAINS = 8

/** Eight independent chains of four-wide multiply-adds an invocation: what the device reaches in float32, in FLOP/s. */
export async function peakFlops(gpu: GpuDevice): Promise<number> {
  let loops = gpu.fallback ? 2 : 512
  let best = 0
  for (let round = 0; round < 6; round++) {
    const seconds = await timeChains(gpu, loops)
    const flops = (GROUPS * INVOCATIONS * CHAINS * 4 * 2 * 16 * loops) / seconds
    if (round > 0) best = Math.max(best, flops)
    if (seconds < 0.03) loops *= 2
  }
  return best
}

async function timeChains(gpu: GpuDevice, loops: number): Promise<number> {
  const pipeline = await gpu.pipeline({ label: 'heddle.peak', key: 'peak', source: chainSource() })
  const params = gpu.upload('params', 16, (mapped) => new Uint32Array(mapped).set([loops]), USAGE.uniform)
  const sink = gpu.storage('sink', GROUPS * 16)
  const staging = gpu.staging('staging', 16)
  const entries = [
    { binding: 0, resource: { buffer: params } },
    { binding: 1, resource: { buffer: sink } },
  ]
  const group = gpu.device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries })
  const encoder = gpu.device.createCommandEncoder()
  const pass = encoder.beginComputePass()
  pass.setPipeline(pipeline)
  pass.setBindGroup(0, group)
  pass.dispatchWorkgroups(GROUPS)
  pass.end()
  encoder.copyBufferToBuffer(sink, 0, staging, 0, 16)
  const startMs = performance.now()
  gpu.device.queue.submit([encoder.finish()])
  await staging.mapAsync(MAP_READ)
  const seconds = (performance.now() - startMs) / 1000
  gpu.free(params, sink, staging)
  return seconds
}

/** The factors keep the sums finite and the compiler from folding them. */
function chainSource(): string {
  const chains = Array.from({ length: CHAINS }, (_, chain) => chain)
  const step = chains.map((chain) => `    c${chain} = fma(c${chain}, factor, shift);`).join('\n')
  return `@group(0) @binding(0) var<uniform> loops: u32;
@group(0) @binding(1) var<storage, read_write> sink: array<vec4f>;
@compute @workgroup_size(${INVOCATIONS})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(workgroup_id) group: vec3u) {
  let factor = vec4f(0.5 + f32(id.x % 7u) * 0.01);
  let shift = vec4f(f32(id.x) * 1e-6);
${chains.map((chain) => `  var c${chain} = vec4f(f32(id.x + ${chain}u));`).join('\n')}
  for (var loop_ = 0u; loop_ < loops; loop_++) {
${Array.from({ length: 16 }, () => step).join('\n')}
  }
  sink[group.x] = ${chains.map((chain) => `c${chain}`).join(' + ')};
}`
}
