import { Ledger } from '../core/ledger.ts'
import type { SegmentPlan } from '../plan/segment-call.ts'
import { planSegments, segmentScratchNeeds } from '../plan/segment-plan.ts'
import type { Fallback } from '../protocol/messages.ts'
import type { JobOutcome } from '../scheduler/job.ts'
import type { Pool } from '../scheduler/pool.ts'
import type { PlanContext } from './attention-call.ts'
import {
  backwardPlanInputs,
  checkBackward,
  checkBackwardShapes,
  checkTransposed,
  type BackwardCall,
  type BackwardPlanInputs,
  type SegmentCall,
  type TransposedCall,
} from './backward-call.ts'
import { backwardArrays } from './backward-arrays.ts'
import { BackwardTasks } from './backward-tasks.ts'
import type {
  AttentionBackwardInputs,
  AttentionBackwardOptions,
  AttentionBackwardResult,
  AttentionTransposedInputs,
  AttentionTransposedOptions,
  AttentionTransposedResult,
  SegmentReport,
} from './backward-options.ts'
import { backwardRequest, transposedRequest } from './backward-request.ts'
import { Operands, SharedCopies } from '../scheduler/operands.ts'
import type { CallMemory, ScratchMemory } from '../scheduler/scratch-memory.ts'
import { SegmentJob } from './segment-job.ts'
import { transposedTasks } from './transposed-tasks.ts'

/** What a runtime lends to a call over key segments. */
export interface SegmentHost extends PlanContext {
  readonly pool: Pool
  readonly scratch: ScratchMemory
  readonly numerics: 'fast' | 'portable'
  readonly fallbacks: readonly Fallback[]
}

/** A runtime's lanes and limits for a call, once it is checked. */
type HostOf<Host> = (call: SegmentCall) => Host

/** `runtime.attentionBackward`, of inputs and options that no longer change. */
export async function attentionBackward(
  inputs: AttentionBackwardInputs,
  options: AttentionBackwardOptions,
  hostOf: HostOf<Promise<SegmentHost>>,
): Promise<AttentionBackwardResult> {
  const call = checkBackward(inputs, options)
  return runBackward(call, call.inputs, await hostOf(call))
}

/** `runtime.attentionTransposed`, likewise. */
export async function attentionTransposed(
  inputs: AttentionTransposedInputs,
  options: AttentionTransposedOptions,
  hostOf: HostOf<Promise<SegmentHost>>,
): Promise<AttentionTransposedResult> {
  const call = checkTransposed(inputs, options)
  return runTransposed(call, call.inputs, await hostOf(call))
}

/** `runtime.planBackward`. */
export function planBackward(
  inputs: BackwardPlanInputs,
  options: AttentionBackwardOptions,
  hostOf: HostOf<PlanContext>,
): SegmentPlan {
  const { shapes, arrays } = backwardPlanInputs(inputs)
  const call = checkBackwardShapes(shapes, options)
  return planSegments(backwardRequest(call, arrays, hostOf(call)))
}

/** dQ, dK, dV (and dBias, and the slopes' gradient) of a checked call. */
async function runBackward(
  call: BackwardCall,
  inputs: AttentionBackwardInputs,
  host: SegmentHost,
): Promise<AttentionBackwardResult> {
  const startMs = performance.now()
  const arrays = backwardArrays(inputs)
  const request = backwardRequest(call, arrays, host)
  const plan = planSegments(request)
  const run = openRun(host, plan, segmentScratchNeeds(request))
  let clean = false
  let tasks: BackwardTasks | undefined
  try {
    tasks = new BackwardTasks(call, arrays, { ...run, inSlices: true })
    const job = new SegmentJob(tasks.placed, plan, call.options, run.operands, run.ledger)
    const outcome = await job.progress.follow(() => host.pool.run(job))
    await tasks.settled()
    const gradients = tasks.gradients()
    clean = outcome.retries === 0
    return { ...gradients, report: reportOf(host, job, outcome, { ...run, startMs }) }
  } finally {
    if (!clean) tasks?.stop()
    run.memory.release(clean)
  }
}

/** Pᵀ·X of a checked call. */
async function runTransposed(
  call: TransposedCall,
  inputs: AttentionTransposedInputs,
  host: SegmentHost,
): Promise<AttentionTransposedResult> {
  const startMs = performance.now()
  const { query, key, logSumExp, rows } = inputs
  const arrays = {
    query: query.data,
    key: key.data,
    logSumExp: logSumExp.data,
    ...(rows === undefined ? {} : { rows: rows.data }),
  }
  const request = transposedRequest(call, arrays, host)
  const plan = planSegments(request)
  const run = openRun(host, plan, segmentScratchNeeds(request))
  let clean = false
  try {
    const { placed, output } = transposedTasks(call, arrays, plan, run.operands, run.ledger)
    const job = new SegmentJob(placed, plan, call.options, run.operands, run.ledger)
    const outcome = await job.progress.follow(() => host.pool.run(job))
    clean = outcome.retries === 0
    return {
      output: { data: output, shape: call.outputShape },
      report: reportOf(host, job, outcome, { ...run, startMs }),
    }
  } finally {
    run.memory.release(clean)
  }
}

function openRun(host: SegmentHost, plan: SegmentPlan, needs: readonly number[]): OpenRun {
  const ledger = new Ledger()
  ledger.add(
    'lane arenas',
    host.pool.lanes().reduce((sum, lane) => sum + lane.residentBytes, 0),
  )
  ledger.add(
    'lane copies',
    host.pool.lanes().reduce((sum, lane) => sum + lane.lastingBytes, 0),
  )
  const memory = host.scratch.open(needs, plan.bytes['kept buffers'] ?? 0, ledger)
  return { plan, ledger, memory, operands: new Operands(plan.transport, new SharedCopies(memory)) }
}

/** What is set up for one call. */
interface OpenRun {
  readonly plan: SegmentPlan
  readonly ledger: Ledger
  readonly memory: CallMemory
  readonly operands: Operands
}

type Timed = Pick<OpenRun, 'plan' | 'ledger'> & { readonly startMs: number }

function reportOf(
  host: SegmentHost,
  job: SegmentJob,
  outcome: JobOutcome,
  { plan, ledger, startMs }: Timed,
): SegmentReport {
  return {
    plan,
    transport: plan.transport,
    numerics: host.numerics,
    lanes: outcome.lanes,
    tasks: plan.tasks,
    retries: outcome.retries,
    fallbacks: [...host.fallbacks, ...outcome.fallbacks],
    reproducible: true,
    elapsedMs: performance.now() - startMs,
    memory: { plannedBytes: plan.totalBytes, peakBytes: ledger.peakBytes, peakByPurpose: ledger.peakByPurpose },
    tiles: job.tiles,
    skippedTiles: job.skippedTiles,
  }
}
