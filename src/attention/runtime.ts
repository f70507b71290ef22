/// <reference lib="esnext.disposable" preserve="true" />
import { RuntimeClosedError } from '../core/errors.ts'
import { allocate, Ledger } from '../core/ledger.ts'
import { checkedProduct } from '../core/integers.ts'
import { checkShape, type Tensor } from '../core/tensor.ts'
import { planAttention, scratchNeeds, type AttentionPlan, type Transport } from '../plan/attention-plan.ts'
import { worthAWorker } from '../plan/chunk-rows.ts'
import { KEPT_PURPOSE } from '../plan/kept-buffers.ts'
import type { LaneKind } from '../protocol/messages.ts'
import type { JobOutcome } from '../scheduler/job.ts'
import { Pool } from '../scheduler/pool.ts'
import { checkCall, checkShapes, planInputs, planRequest, resultsShared, type CheckedCall, type PlanContext } from './attention-call.ts'
import { AttentionJob } from './attention-job.ts'
import type { AttentionInputs, AttentionOptions, AttentionReport, AttentionResult } from './attention-options.ts'
import { CallerLane } from './caller-lane.ts'
import { hostFallbacks, machineMemoryBytes, probeCapabilities, type Capabilities } from './capabilities.ts'
import { chooseAutoLanes, MEASURED_TOKENS } from './auto-backend.ts'
import { keptLimitBytes, ScratchMemory } from '../scheduler/scratch-memory.ts'
import { asksForGpu, resolveRuntimeOptions, type ResolvedRuntimeOptions, type RuntimeOptions } from './runtime-options.ts'

/** Shapes for `runtime.plan`: each a shape, or a tensor, whose memory is then taken into account. */
export interface PlanInputs {
  readonly query: readonly number[] | Tensor
  readonly key: readonly number[] | Tensor
  readonly value: readonly number[] | Tensor
}

/** A pool of workers and what can be computed on it. Made by `createRuntime`. */
export class Runtime {
  readonly capabilities: Capabilities
  readonly #options: ResolvedRuntimeOptions
  readonly #pool: Pool
  readonly #caller: CallerLane | null
  /** asked once: the host reads files for it */
  readonly #machineBytes = machineMemoryBytes()
  readonly #scratch: ScratchMemory
  #closing: Promise<void> | null = null

  /** @internal */
  constructor(capabilities: Capabilities, options: ResolvedRuntimeOptions, pool: Pool) {
    this.capabilities = capabilities
    this.#options = options
    this.#pool = pool
    this.#scratch = new ScratchMemory(keptLimitBytes(options.memoryBudgetBytes, this.#machineBytes))
    this.#caller = options.caller === null ? null : new CallerLane(options.caller)
  }

  /** Lanes of the pool, and what each holds. */
  get lanes(): ReturnType<Pool['lanes']> {
    return this.#pool.lanes()
  }

  /**
   * softmax(scale·QKᵀ + …)·V, exactly, in chunks of query rows over the pool. Memory beyond inputs and output: the plan's.
   *
   * @throws {ShapeError} {OptionError} when something does not fit; before anything is allocated
   * @throws {MemoryBudgetError} when the budget is too small, or the engine refuses an allocation
   * @throws {WorkerLostError} when workers died three times under one task
   * @throws {RuntimeClosedError} after or during `close()`
   * @throws the signal's reason, after an abort
   */
  async attention(inputs: AttentionInputs, options: AttentionOptions = {}): Promise<AttentionResult> {
    const startMs = performance.now()
    this.#checkOpen()
    const call = checkCall(inputs, options)
    call.options.signal?.throwIfAborted()
    if (this.#isInline(call)) await this.#caller?.open()
    const pool = this.#poolFor(call)
    const request = planRequest(call, inputs, this.#planContext(pool))
    const plan = planAttention(request)
    const ledger = new Ledger()
    ledger.add('lane arenas', pool.lanes().reduce((sum, lane) => sum + lane.residentBytes, 0))
    ledger.add('lane copies', pool.lanes().reduce((sum, lane) => sum + lane.lastingBytes, 0))
    const arrays = { query: inputs.query.data, key: inputs.key.data, value: inputs.value.data }
    const memory = this.#scratch.open(scratchNeeds(request), plan.bytes[KEPT_PURPOSE] ?? 0, ledger)
    let clean = false
    try {
      const job = new AttentionJob(call.layout, call.options, arrays, request, plan, resultsShared(inputs), ledger, memory)
      const outcome = await pool.run(job)
      job.finish()
      clean = outcome.retries === 0
      return { ...this.#result(call, job), report: this.#report(plan, job, outcome, ledger, performance.now() - startMs) }
    } finally {
      memory.release(clean)
    }
  }

  /**
   * What `attention` would do and hold, by arithmetic alone: nothing runs, nothing is allocated.
   *
   * @param inputs shapes, which count as plain arrays, or tensors
   * @throws {ShapeError} {OptionError} as `attention` does
   * @throws {MemoryBudgetError} when nothing fits the budget; says which one would do
   */
  plan(inputs: PlanInputs, options: AttentionOptions = {}): AttentionPlan {
    this.#checkOpen()
    const { shapes, arrays } = planInputs(inputs)
    const call = checkShapes(shapes, options)
    return planAttention(planRequest(call, arrays, this.#planContext(this.#poolFor(call))))
  }

  /** Zeros of `shape`, in shared memory where the host has it, so that no call needs to copy them. */
  tensor(shape: readonly number[]): Tensor {
    this.#checkOpen()
    checkShape('runtime.tensor', shape)
    const bytes = checkedProduct([...shape, 4], 'runtime.tensor')
    return { data: new Float32Array(allocate('runtime.tensor', bytes, this.#options.sharedMemory)), shape: [...shape] }
  }

  /** Lets go of kept buffers and ends idle workers, the only way to give WebAssembly memory back; the next call starts them again. */
  async trim(): Promise<void> {
    this.#checkOpen()
    this.#scratch.clear()
    await Promise.all([this.#pool.trim(), this.#caller?.pool.trim()])
  }

  /** Ends all workers. Pending calls reject with a RuntimeClosedError, and so does every later one. */
  close(): Promise<void> {
    this.#scratch.close()
    this.#closing ??= Promise.all([this.#pool.close(), this.#caller?.pool.close()]).then(() => undefined)
    return this.#closing
  }

  /** `close()`, for `await using` where the host has it. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** @internal The pool and its limits, for the stages of layers. */
  stageHost(onCaller = false): PlanContext & { readonly pool: Pool; readonly scratch: ScratchMemory } {
    this.#checkOpen()
    const pool = onCaller && this.#caller !== null && this.#caller.usable ? this.#caller.pool : this.#pool
    return { ...this.#planContext(pool), pool, scratch: this.#scratch }
  }

  /** @internal Starts the calling thread's own lane, for stages smaller than a message. Never rejects. */
  async openCallerLane(): Promise<void> {
    await this.#caller?.open()
  }

  #checkOpen(): void {
    if (this.#closing !== null) throw new RuntimeClosedError('runtime: expected an open runtime, got a call after close()')
  }

  /** A message to a worker and back takes longer than a tiny call; a chunk size that was asked for is a wish for tasks. */
  #isInline({ layout, options }: CheckedCall): boolean {
    return options.chunkSize === undefined && !worthAWorker(layout.sizes, { ...options.settings, queryOffset: options.queryOffset, keyLength: options.keyLength })
  }

  #poolFor(call: CheckedCall): Pool {
    return this.#caller !== null && this.#caller.usable && this.#isInline(call) ? this.#caller.pool : this.#pool
  }

  #planContext(pool: Pool): PlanContext {
    const memory = this.#options.memoryBudgetBytes
    return {
      transport: this.#transport(pool),
      lanes: pool.lanes(),
      budgetBytes: memory ?? this.#machineBytes,
      kept: this.#scratch.sizes,
      budgetSource: memory === undefined ? 'a machine with memory' : 'a memory budget',
    }
  }

  #transport(pool: Pool): Transport {
    if (!this.#options.onWorkers || pool !== this.#pool) return 'local'
    return this.#options.sharedMemory ? 'shared' : 'transfer'
  }

  #result({ layout, options }: CheckedCall, job: AttentionJob): Omit<AttentionResult, 'report'> {
    const tensorOf = <A extends Float32Array | Int32Array>(name: Parameters<typeof job.results.array>[0], shape: readonly number[]): Tensor<A> => ({
      data: job.results.array(name) as A,
      shape,
    })
    const { rowShape } = layout
    return {
      output: tensorOf('output', layout.outputShape),
      ...(options.logSumExp ? { logSumExp: tensorOf<Float32Array>('logSumExp', rowShape) } : {}),
      ...(options.weights === 'all' ? { weights: tensorOf<Float32Array>('weights', layout.scoreShape) } : {}),
      ...(job.selection === null ? {} : { weights: { data: job.selection.data, shape: job.selection.shape } }),
      ...(options.statistics
        ? {
            statistics: {
              entropy: tensorOf<Float32Array>('entropy', rowShape),
              maxWeight: tensorOf<Float32Array>('maxWeight', rowShape),
              maxIndex: tensorOf<Int32Array>('maxIndex', rowShape),
              meanDistance: tensorOf<Float32Array>('meanDistance', rowShape),
            },
          }
        : {}),
    }
  }

  #report(plan: AttentionPlan, job: AttentionJob, outcome: JobOutcome, ledger: Ledger, elapsedMs: number): AttentionReport {
    const { numerics } = this.#options
    return {
      mode: plan.mode,
      plan,
      transport: plan.transport,
      numerics,
      lanes: outcome.lanes,
      tasks: plan.tasks,
      retries: outcome.retries,
      fallbacks: [...hostFallbacks(this.capabilities, numerics, this.#options.sharedWanted), ...outcome.fallbacks],
      reproducible: outcome.lanes.every((lane) => lane.kind === 'wasm'),
      elapsedMs,
      memory: { plannedBytes: plan.totalBytes, peakBytes: ledger.peakBytes, peakByPurpose: ledger.peakByPurpose },
      tiles: job.tiles,
      skippedTiles: job.skippedTiles,
    }
  }
}

/**
 * Starts a pool of workers.
 *
 * @throws {OptionError} for unknown or wrong options
 * @throws {BackendUnavailableError} when the host cannot run the backend, or no worker starts; it can be tried again
 */
export async function createRuntime(options: RuntimeOptions = {}): Promise<Runtime> {
  const capabilities = await probeCapabilities(asksForGpu(options))
  const resolved = await resolveRuntimeOptions(options, capabilities)
  const choice = await chooseAutoLanes(options, capabilities, (kind) => timeLane(kind, options, capabilities))
  if (choice === undefined) return openRuntime(capabilities, resolved)
  const { kinds, reason } = choice
  const told = { ...capabilities, reasons: { ...capabilities.reasons, auto: reason } }
  return openRuntime(told, kinds === undefined ? resolved : await resolveRuntimeOptions(options, capabilities, kinds))
}

async function openRuntime(capabilities: Capabilities, options: ResolvedRuntimeOptions): Promise<Runtime> {
  const pool = new Pool(options.pool)
  await pool.open()
  return new Runtime(capabilities, options, pool)
}

/** Milliseconds of the measuring job on one lane of this kind, warm. */
async function timeLane(kind: LaneKind, { workers: _, ...options }: RuntimeOptions, capabilities: Capabilities): Promise<number> {
  const runtime = await openRuntime(capabilities, await resolveRuntimeOptions({ ...options, backend: { [kind]: 1 } }, capabilities))
  try {
    const shape = [MEASURED_TOKENS, 64]
    const inputs = { query: runtime.tensor(shape), key: runtime.tensor(shape), value: runtime.tensor(shape) }
    const run = async (): Promise<number> => (await runtime.attention(inputs)).report.elapsedMs
    await run()
    return Math.min(await run(), await run())
  } finally {
    await runtime.close()
  }
}
