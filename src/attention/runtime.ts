/// <reference lib="esnext.disposable" preserve="true" />
import { throwIfAborted } from '../core/abort.ts'
import { withBorrowed } from '../core/borrowed.ts'
import { RuntimeClosedError } from '../core/errors.ts'
import { allocate, Ledger } from '../core/ledger.ts'
import { checkedProduct } from '../core/integers.ts'
import { checkShape, type Tensor } from '../core/tensor.ts'
import { planAttention, scratchNeeds } from '../plan/attention-plan.ts'
import type { AttentionPlan } from '../plan/attention-request.ts'
import type { Transport } from '../plan/transport.ts'
import { worthAWorker } from '../plan/chunk-rows.ts'
import type { SegmentPlan } from '../plan/segment-call.ts'
import type { JobOutcome } from '../scheduler/job.ts'
import type { LaneFacts } from '../scheduler/lane-facts.ts'
import type { Pool } from '../scheduler/pool.ts'
import type { PoolEvents, RuntimeEventName, RuntimeEvents } from '../scheduler/pool-events.ts'
import {
  borrowedArrays,
  checkCall,
  checkShapes,
  planInputs,
  planRequest,
  type CheckedCall,
  type InputCall,
  type PlanContext,
} from './attention-call.ts'
import type { AskedResults, WithAsked } from './asked-results.ts'
import type { SegmentHost } from './attention-backward.ts'
import { AttentionJob } from './attention-job.ts'
import type {
  AttentionInputs,
  AttentionOptions,
  AttentionReport,
  AttentionResult,
  WeightSelection,
} from './attention-options.ts'
import { attentionResult } from './attention-result.ts'
import type { BackwardPlanInputs, SegmentCall } from './backward-call.ts'
import type {
  AttentionBackwardInputs,
  AttentionBackwardOptions,
  AttentionBackwardResult,
  AttentionTransposedInputs,
  AttentionTransposedOptions,
  AttentionTransposedResult,
} from './backward-options.ts'
import { CallerLane } from './caller-lane.ts'
import { heldArrays, holdCall } from './held-call.ts'
import { machineMemoryBytes, type Capabilities } from './capabilities.ts'
import { keptLimitBytes, ScratchMemory } from '../scheduler/scratch-memory.ts'
import type { ResolvedRuntimeOptions } from './runtime-options.ts'

/** Shapes for `runtime.plan`: each a shape, or a tensor, whose memory is then taken into account. */
export interface PlanInputs {
  /** [.., M, D] */
  readonly query: readonly number[] | Tensor
  /** [.., N, D] */
  readonly key: readonly number[] | Tensor
  /** [.., N, Dv] */
  readonly value: readonly number[] | Tensor
}

/** A pool of workers and what can be computed on it. Made by `createRuntime`. */
export class Runtime {
  /** what this host can do, as it was found when the runtime was made */
  readonly capabilities: Capabilities
  readonly #options: ResolvedRuntimeOptions
  readonly #pool: Pool
  readonly #events: PoolEvents
  readonly #caller: CallerLane | null
  readonly #machineBytes = machineMemoryBytes() // asked once: the host reads files for it
  readonly #scratch: ScratchMemory
  #closing: Promise<void> | null = null

  /** @internal */
  constructor(capabilities: Capabilities, options: ResolvedRuntimeOptions, pool: Pool, events: PoolEvents) {
    this.capabilities = capabilities
    this.#options = options
    this.#pool = pool
    this.#events = events
    this.#scratch = new ScratchMemory(keptLimitBytes(options.memoryBudgetBytes, this.#machineBytes))
    this.#caller = options.caller === null ? null : new CallerLane({ ...options.caller, events, thread: 'caller' })
  }

  /** Lanes of the pool, and what each holds. */
  get lanes(): LaneFacts[] {
    return this.#pool.lanes()
  }

  /**
   * Listens to what the lanes do: `'lane'` (one started, was lost or was stopped), `'retry'` (tasks go to another
   * lane), `'fallback'`, and `'task'` (which lane did what, and when), for all calls, including layers and training.
   * Costs nothing when there are no listeners.
   *
   * @param name `'lane'`, `'retry'`, `'fallback'` or `'task'`
   * @param listener called with each event
   * @returns a function that removes the listener
   * @throws {OptionError} for another name, or no function
   *
   * @example
   * ```js
   * import { createRuntime } from 'heddle'
   *
   * const runtime = await createRuntime({ workers: 2 })
   * const stop = runtime.on('retry', ({ lane, reason }) => console.warn(`lane ${lane}: ${reason}`))
   * stop()
   * await runtime.close()
   * ```
   */
  on<Name extends RuntimeEventName>(name: Name, listener: (event: RuntimeEvents[Name]) => void): () => void {
    return this.#events.on(name, listener)
  }

  /**
   * softmax(scale·QKᵀ + …)·V, exactly, in chunks of query rows over the pool. Memory beyond inputs and output: the
   * plan's.
   *
   * @param inputs query [.., M, D], key [.., N, D] and value [.., N, Dv]; see `AttentionInputs` for the layouts
   * @returns in its type, those optional tensors that the options ask for are certain to be there
   * @throws {ShapeError} {OptionError} when something does not fit; before anything is allocated
   * @throws {MemoryBudgetError} when the budget is too small, or the engine refuses an allocation
   * @throws {WorkerLostError} when workers died three times under one task
   * @throws {RuntimeClosedError} after or during `close()`
   * @throws the signal's reason, after an abort
   *
   * @example
   * ```js
   * import { createRuntime, tensor } from 'heddle'
   *
   * const runtime = await createRuntime()
   * // Two heads of 32 in rows of 64, and the weights of the last row of each.
   * const x = tensor(Float32Array.from({ length: 100 * 64 }, (_, i) => Math.sin(i)), [1, 100, 64])
   * const { output, weights } = await runtime.attention(
   *   { query: x, key: x, value: x },
   *   { heads: 2, causal: true, returnWeights: { rows: [99] } },
   * )
   * console.log(output.shape, weights.shape) // [ 1, 100, 64 ] [ 1, 2, 1, 100 ]
   * await runtime.close()
   * ```
   */
  async attention<
    Weights extends boolean | WeightSelection = false,
    LogSumExp extends boolean = false,
    Statistics extends boolean = false,
  >(
    inputs: AttentionInputs,
    options: AttentionOptions & AskedResults<Weights, LogSumExp, Statistics> = {},
  ): Promise<WithAsked<AttentionResult, Weights, LogSumExp, Statistics>> {
    this.#checkOpen()
    return (await this.attend(checkCall(inputs, options))) as never // a result has what was asked for
  }

  /** @internal The same for a call that was checked. */
  async attend(call: InputCall): Promise<AttentionResult> {
    throwIfAborted(call.options.signal)
    return withBorrowed('attention', borrowedArrays(call, call.inputs), () => this.#attend(call))
  }

  async #attend(call: InputCall): Promise<AttentionResult> {
    const startMs = performance.now()
    this.#checkOpen()
    if (this.#isInline(call)) await this.#caller?.open()
    const pool = this.#poolFor(call)
    const { inputs } = call
    const request = planRequest(call, inputs, this.#planContext(pool))
    const plan = planAttention(request)
    const ledger = new Ledger()
    ledger.add(
      'lane arenas',
      pool.lanes().reduce((sum, lane) => sum + lane.residentBytes, 0),
    )
    ledger.add(
      'lane copies',
      pool.lanes().reduce((sum, lane) => sum + lane.lastingBytes, 0),
    )
    const memory = this.#scratch.open(scratchNeeds(request), plan.bytes['kept buffers'] ?? 0, ledger)
    let clean = false
    try {
      const job = new AttentionJob(call, inputs, { request, plan, ledger, memory })
      const outcome = await job.progress.follow(() => pool.run(job))
      job.finish()
      clean = outcome.retries === 0
      return {
        ...attentionResult(call, job),
        report: {
          ...this.#report(plan, job, outcome, ledger, performance.now() - startMs),
          notes: call.options.notes,
        },
      }
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
   *
   * @example
   * ```js
   * import { createRuntime } from 'heddle'
   *
   * const runtime = await createRuntime()
   * const shape = [1, 12, 100_000, 64] // B, H, M, D
   * // Lines that say how many chunks, lanes and bytes the call would take.
   * const plan = runtime.plan({ query: shape, key: shape, value: shape }, { causal: true })
   * console.log(plan.explain())
   * await runtime.close()
   * ```
   */
  plan(inputs: PlanInputs, options: AttentionOptions = {}): AttentionPlan {
    this.#checkOpen()
    const { shapes, arrays } = planInputs(inputs)
    const call = checkShapes(shapes, options)
    return planAttention(planRequest(call, arrays, this.#planContext(this.#poolFor(call))))
  }

  /**
   * The gradients of attention: with L = logSumExp, P = exp(S − L) and δ = rowsum(dOutput∘output), dV = Pᵀ·dO,
   * dS = P∘(dO·Vᵀ − δ), dQ = scale·dS·K, dK = scale·dSᵀ·Q, and back through softcap, bias, ALiBi and dropout on the way
   * (Dao 2023, FlashAttention-2, algorithm 2). No matrix of scores is made. It runs on wasm, on WebGPU lanes too.
   *
   * @param inputs of the forward call, with its `output` and `logSumExp`, and `dOutput`
   * @param options those of the forward call that change its result must be the same
   * @returns gradients of the shapes of their inputs, the caller's; in shared memory where every input is
   * @throws {ShapeError} {OptionError} when something does not fit; before anything is allocated
   * @throws {MemoryBudgetError} {WorkerLostError} {RuntimeClosedError} and the signal's reason, as `attention` does
   *
   * @example
   * ```js
   * import { createRuntime, tensor } from 'heddle'
   *
   * const runtime = await createRuntime()
   * const x = tensor(Float32Array.from({ length: 100 * 64 }, (_, i) => Math.sin(i)), [100, 64])
   * const inputs = { query: x, key: x, value: x }
   * const { output, logSumExp } = await runtime.attention(inputs, { causal: true, returnLogSumExp: true })
   * const dOutput = output // the gradient of the loss ½·Σ output²
   * const { dQuery } = await runtime.attentionBackward({ ...inputs, output, logSumExp, dOutput }, { causal: true })
   * console.log(dQuery.shape) // [ 100, 64 ]
   * await runtime.close()
   * ```
   */
  async attentionBackward(
    inputs: AttentionBackwardInputs,
    options: AttentionBackwardOptions = {},
  ): Promise<AttentionBackwardResult> {
    this.#checkOpen()
    const held = holdCall([inputs, options] as const)
    return withBorrowed('attentionBackward', heldArrays(held), async () =>
      (await import('./attention-backward.ts')).attentionBackward(...held, (call) => this.#segmentHost(call)),
    )
  }

  /**
   * What `attentionBackward` would do and hold, by arithmetic alone. A promise: the code for gradients is loaded
   * when it is first used.
   *
   * @param inputs shapes of query, key and value, which count as plain arrays; or tensors, of the other inputs too
   * @throws as `plan` does
   */
  async planBackward(inputs: BackwardPlanInputs, options: AttentionBackwardOptions = {}): Promise<SegmentPlan> {
    this.#checkOpen()
    const held = holdCall([inputs, options] as const)
    const backward = await import('./attention-backward.ts')
    return backward.planBackward(...held, (call) => this.#planContext(this.#poolFor(call)))
  }

  /**
   * Pᵀ·X, with the weights P of attention before dropout: what each key receives. Without X it is the sum of each key's
   * weights over the queries, one number per key.
   *
   * @param inputs query and key of a forward call, its `logSumExp`, and X as `rows`
   * @returns a tensor per query head; grouped heads are not summed
   * @throws as `attentionBackward` does
   *
   * @example
   * ```js
   * import { createRuntime, tensor } from 'heddle'
   *
   * const runtime = await createRuntime()
   * const x = tensor(Float32Array.from({ length: 100 * 64 }, (_, i) => Math.sin(i)), [100, 64])
   * const { logSumExp } = await runtime.attention({ query: x, key: x, value: x }, { returnLogSumExp: true })
   * const { output: received } = await runtime.attentionTransposed({ query: x, key: x, logSumExp })
   * console.log(received.shape) // [ 100, 1 ]
   * await runtime.close()
   * ```
   */
  async attentionTransposed(
    inputs: AttentionTransposedInputs,
    options: AttentionTransposedOptions = {},
  ): Promise<AttentionTransposedResult> {
    this.#checkOpen()
    const held = holdCall([inputs, options] as const)
    return withBorrowed('attentionTransposed', heldArrays(held), async () =>
      (await import('./attention-backward.ts')).attentionTransposed(...held, (call) => this.#segmentHost(call)),
    )
  }

  /**
   * Zeros of `shape`, in shared memory where the host has it, so that no call needs to copy them.
   *
   * @param shape sizes of the axes, outermost first
   */
  tensor(shape: readonly number[]): Tensor {
    this.#checkOpen()
    checkShape('runtime.tensor', shape)
    const bytes = checkedProduct([...shape, 4], 'runtime.tensor')
    return { data: new Float32Array(allocate('runtime.tensor', bytes, this.#options.sharedMemory)), shape: [...shape] }
  }

  /**
   * Lets go of kept buffers and ends idle workers, the only way to give WebAssembly memory back; the next call starts
   * them again.
   */
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
  stageHost(
    onCaller = false,
  ): PlanContext & { readonly pool: Pool; readonly scratch: ScratchMemory; readonly budgetIsGiven: boolean } {
    this.#checkOpen()
    const pool = onCaller && this.#caller !== null && this.#caller.usable ? this.#caller.pool : this.#pool
    return {
      ...this.#planContext(pool),
      pool,
      scratch: this.#scratch,
      budgetIsGiven: this.#options.memoryBudgetBytes !== undefined,
    }
  }

  /** @internal Starts the calling thread's own lane, for stages smaller than a message. Never rejects. */
  async openCallerLane(): Promise<void> {
    await this.#caller?.open()
  }

  async #segmentHost(call: SegmentCall): Promise<SegmentHost> {
    throwIfAborted(call.options.signal)
    if (this.#isInline(call)) await this.#caller?.open()
    const pool = this.#poolFor(call)
    const { numerics, fallbacks } = this.#options
    return { ...this.#planContext(pool), pool, scratch: this.#scratch, numerics, fallbacks }
  }

  #checkOpen(): void {
    if (this.#closing !== null)
      throw new RuntimeClosedError('runtime: expected an open runtime, got a call after close()')
  }

  /**
   * A message to a worker and back takes longer than a tiny call; a chunk size that was asked for is a wish for tasks.
   */
  #isInline({ layout, options }: Pick<CheckedCall, 'layout' | 'options'>): boolean {
    return (
      options.chunkSize === undefined &&
      !worthAWorker(layout.sizes, {
        ...options.settings,
        queryOffset: options.queryOffset,
        keyLength: options.keyLength,
      })
    )
  }

  #poolFor(call: Pick<CheckedCall, 'layout' | 'options'>): Pool {
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

  #report(
    plan: AttentionPlan,
    job: AttentionJob,
    outcome: JobOutcome,
    ledger: Ledger,
    elapsedMs: number,
  ): Omit<AttentionReport, 'notes'> {
    const { numerics } = this.#options
    return {
      mode: plan.mode,
      plan,
      transport: plan.transport,
      numerics,
      lanes: outcome.lanes,
      tasks: plan.tasks,
      retries: outcome.retries,
      fallbacks: [...this.#options.fallbacks, ...outcome.fallbacks],
      reproducible: outcome.lanes.every((lane) => lane.kind === 'wasm'),
      elapsedMs,
      memory: { plannedBytes: plan.totalBytes, peakBytes: ledger.peakBytes, peakByPurpose: ledger.peakByPurpose },
      tiles: job.tiles,
      skippedTiles: job.skippedTiles,
    }
  }
}
