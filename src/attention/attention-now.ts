import { compileKernels, probeWasm } from '../backends/wasm/binaries.ts'
import { createWasmBackend, type WasmBackend } from '../backends/wasm/engine.ts'
import { BackendUnavailableError } from '../core/errors.ts'
import { Ledger } from '../core/ledger.ts'
import type { Tensor } from '../core/tensor.ts'
import { planAttention } from '../plan/attention-plan.ts'
import { checkCall, planRequest, resultsShared } from './attention-call.ts'
import { AttentionJob } from './attention-job.ts'
import type { AttentionInputs, AttentionOptions } from './attention-options.ts'

let backend: WasmBackend | undefined

/**
 * The output of `attention`, computed at once on the calling thread: for callers that cannot wait for a promise. The thread
 * does nothing else meanwhile, so `signal` and progress have no use here.
 *
 * @throws {ShapeError} {OptionError} {MemoryBudgetError} as `runtime.attention` does
 * @throws {BackendUnavailableError} without WebAssembly SIMD
 */
export function attentionNow(inputs: AttentionInputs, options: AttentionOptions = {}): Tensor {
  const call = checkCall(inputs, options)
  const lane = (backend ??= openBackend())
  const lanes = [{ kind: 'wasm', residentBytes: lane.residentBytes(), stageBytes: lane.stageBytes?.() ?? 0 }] as const
  const request = planRequest(call, inputs, { transport: 'local', lanes, budgetBytes: undefined, budgetSource: 'memory' })
  const arrays = { query: inputs.query.data, key: inputs.key.data, value: inputs.value.data }
  const job = new AttentionJob(call.layout, call.options, arrays, request, planAttention(request), resultsShared(inputs), new Ledger())
  const context = { array: (id: number) => job.provide(id), pace: () => undefined }
  for (const part of job.tasks) job.completed(part, part.tasks.flatMap((task) => (task.kind === 'attention' ? [lane.attentionNow(task, context)] : [])))
  job.finish()
  return { data: job.results.array('output') as Float32Array, shape: call.layout.outputShape }
}

function openBackend(): WasmBackend {
  const probe = probeWasm()
  if (!probe.simd) throw new BackendUnavailableError(`attention: expected a host with WebAssembly SIMD (${probe.reason ?? 'it is missing'})`)
  return createWasmBackend(compileKernels(probe.relaxedSimd ? 'relaxed' : 'simd'))
}
