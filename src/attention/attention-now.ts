import { createWasmBackend, type WasmBackend } from '../backends/wasm/engine.ts'
import { compileKernels } from '../backends/wasm/kernels-now.ts'
import { probeWasm, variantFor } from '../backends/wasm/probe.ts'
import { BackendUnavailableError } from '../core/errors.ts'
import { Ledger } from '../core/ledger.ts'
import type { Tensor } from '../core/tensor.ts'
import { planAttention } from '../plan/attention-plan.ts'
import { planSegments } from '../plan/segment-plan.ts'
import { checkCall, planRequest, type PlanContext } from './attention-call.ts'
import { AttentionJob } from './attention-job.ts'
import type { AttentionInputs, AttentionOptions } from './attention-options.ts'
import { checkBackward } from './backward-call.ts'
import type { AttentionBackwardInputs, AttentionBackwardOptions, AttentionBackwardResult } from './backward-options.ts'
import { backwardRequest } from './backward-request.ts'
import { backwardArrays } from './backward-arrays.ts'
import { BackwardTasks } from './backward-tasks.ts'
import { Operands, SharedCopies } from '../scheduler/operands.ts'

let backend: WasmBackend | undefined

/**
 * The output of `attention`, and its log-sum-exp, computed at once on the calling thread: for callers that cannot wait
 * for a promise. The thread does nothing else meanwhile, so `signal` and progress have no use here.
 *
 * @throws {ShapeError} {OptionError} {MemoryBudgetError} as `runtime.attention` does
 * @throws {BackendUnavailableError} without WebAssembly SIMD
 */
export function attentionNow(
  inputs: AttentionInputs,
  options: AttentionOptions = {},
): { readonly output: Tensor; readonly logSumExp: Tensor } {
  const call = checkCall(inputs, { ...options, returnLogSumExp: true })
  const lane = (backend ??= openBackend())
  const request = planRequest(call, inputs, contextOf(lane))
  const job = new AttentionJob(call, inputs, { request, plan: planAttention(request), ledger: new Ledger() })
  const context = { array: (id: number) => job.provide(id), pace: () => undefined }
  for (const part of job.tasks) {
    const results = part.tasks.flatMap((task) => {
      if (task.kind === 'attention') return [lane.attentionNow(task, context)]
      return task.kind === 'attention-heads' ? [lane.attentionHeadsNow(task, context)] : []
    })
    job.completed(part, results, { lane: 0, kind: 'wasm', endMs: performance.now() })
  }
  job.finish()
  return {
    output: { data: job.results.array('output') as Float32Array, shape: call.layout.outputShape },
    logSumExp: { data: job.results.array('logSumExp') as Float32Array, shape: call.layout.rowShape },
  }
}

/** The gradients of `attentionBackward`, in the same way. @throws as `attentionNow` does */
export function attentionBackwardNow(
  inputs: AttentionBackwardInputs,
  options: AttentionBackwardOptions = {},
): Omit<AttentionBackwardResult, 'report'> {
  const call = checkBackward(inputs, options)
  const lane = (backend ??= openBackend())
  const arrays = backwardArrays(inputs)
  const plan = planSegments(backwardRequest(call, arrays, contextOf(lane)))
  const ledger = new Ledger()
  const operands = new Operands('local', new SharedCopies(ledger))
  const tasks = new BackwardTasks(call, arrays, { plan, operands, ledger, inSlices: false })
  const context = { array: (id: number) => operands.provide(id), pace: () => undefined }
  for (const { task, take } of tasks.placed)
    if (task.kind !== 'attention-transposed') take(lane.gradientsNow(task, context))
  return tasks.gradients()
}

function contextOf(lane: WasmBackend): PlanContext {
  return {
    transport: 'local',
    lanes: [{ kind: 'wasm', residentBytes: lane.residentBytes(), stageBytes: lane.stageBytes?.() ?? 0 }],
    budgetBytes: undefined,
    budgetSource: 'memory',
  }
}

function openBackend(): WasmBackend {
  const probe = probeWasm()
  if (!probe.simd)
    throw new BackendUnavailableError(
      `attention: expected a host with WebAssembly SIMD (${probe.reason ?? 'it is missing'})`,
    )
  return createWasmBackend(compileKernels(variantFor('fast', probe)))
}
