import { abortReason, onAbort, throwIfAborted } from '../core/abort.ts'
import { BackendUnavailableError, ProtocolError, RuntimeClosedError, WorkerLostError } from '../core/errors.ts'
import type { Fallback, LaneConfig, TaskResponse } from '../protocol/messages.ts'
import type { Job, JobOutcome, JobTask } from './job.ts'
import { JobState, MAX_TRIES } from './job-state.ts'
import { reasonOf, startError } from './lane-error.ts'
import { KernelShelf, type LoadKernels } from './kernel-shelf.ts'
import type { LaneFacts } from './lane-facts.ts'
import { LaneLost, type Lane } from './lane.ts'
import { TaskCancelled } from './pacer.ts'
import { everySecond, type Heartbeat } from './heartbeat.ts'
import { goesFirst } from './job-order.ts'
import { PoolEvents, type EventLane, type RuntimeEvents } from './pool-events.ts'
import { Slot, type BenchName } from './slot.ts'

/** A slot whose lane failed so often in a row is left empty until the next call. */
const MAX_START_FAILURES = 3

export interface PoolConfig {
  /** one entry per lane */
  readonly lanes: readonly LaneConfig[]
  /** a worker for a lane, or its stand-in on the calling thread; called again when a lane must be replaced */
  readonly makeLane: (config: LaneConfig) => Lane
  /** the kernels that wasm lanes are sent once a job needs them; absent where each finds its own */
  readonly laterKernels?: LoadKernels
  /** how lanes at work are asked for signs of life; each second unless a test says otherwise */
  readonly heartbeat?: Heartbeat
  /** where events of its lanes go. @default nowhere */
  readonly events?: PoolEvents
  /** where its lanes run, for events. @default 'worker' */
  readonly thread?: EventLane['thread']
}

/** Workers that pull tasks, longest first. A lane that dies gives its tasks back and is replaced. */
export class Pool {
  readonly #slots: readonly Slot[]
  readonly #jobs: JobState[] = []
  readonly #heartbeat: Heartbeat
  readonly #events: PoolEvents
  readonly #thread: EventLane['thread']
  readonly #shelf: KernelShelf
  #stopBeating: (() => void) | null = null
  #nextJobId = 1
  #closed = false

  constructor(config: PoolConfig) {
    // Of what a lane came to hold for one job's task, other jobs and their plans know nothing.
    const onResident = (change: number, cause?: JobState): void => {
      for (const state of this.#jobs) if (cause === undefined || cause === state) state.job.laneGrew?.(change)
    }
    const onLasting = (change: number): void => {
      for (const state of this.#jobs) state.job.laneKept?.(change)
    }
    this.#heartbeat = config.heartbeat ?? everySecond
    this.#events = config.events ?? new PoolEvents()
    this.#thread = config.thread ?? 'worker'
    this.#shelf = new KernelShelf(config.laterKernels)
    this.#slots = config.lanes.map((lane, index) => new Slot(index, lane, config.makeLane, onResident, onLasting))
  }

  get size(): number {
    return this.#slots.length
  }

  /** Whether a call is under way. */
  get isBusy(): boolean {
    return this.#jobs.some(({ settled }) => !settled)
  }

  lanes(): LaneFacts[] {
    return this.#slots.map((slot) => ({
      lane: slot.index,
      kind: slot.config.kind,
      kernels: slot.hello?.kernels ?? null,
      residentBytes: slot.residentBytes,
      besideBytes: slot.besideBytes,
      stageBytes: slot.stageBytes,
      besideStageBytes: slot.besideStageBytes,
      mayRunBeside: slot.config.kind === 'wasm' && this.isBusy,
      lastingBytes: slot.lastingBytes,
      facts: slot.hello?.facts,
    }))
  }

  /**
   * Starts every lane and waits for the first; the others join as they come.
   *
   * @throws when none starts: the first one's error; nothing is left behind then
   */
  async open(): Promise<void> {
    const starts = this.#slots.map((slot) => this.#start(slot))
    for (const start of starts) start.catch(() => this.#pump())
    try {
      await Promise.any(starts)
    } catch (error) {
      await this.close()
      const [first] = (error as AggregateError).errors as unknown[]
      throw first instanceof LaneLost ? startError(first) : first
    }
  }

  /** Runs a job to its end. @throws the signal's reason, a task's error, WorkerLostError, or RuntimeClosedError */
  async run(job: Job): Promise<JobOutcome> {
    // Before the job is under way: then a file that cannot be fetched fails this call alone.
    const missing = this.#shelf.missing(job)
    if (missing.length > 0) await this.#shelf.fetch(missing)
    if (this.#closed) throw new RuntimeClosedError('runtime: expected an open runtime, got a call after close()')
    throwIfAborted(job.signal)
    const others = this.#jobs.filter(({ settled }) => !settled).map(({ done }) => done)
    const state = new JobState(this.#nextJobId++, job, others.length === 0 ? 0 : Math.min(...others))
    if (job.tasks.length === 0) state.finish()
    const stopListening = onAbort(job.signal, () =>
      this.#abandon(state, job.signal === undefined ? undefined : abortReason(job.signal)),
    )
    this.#jobs.push(state)
    for (const slot of this.#slots) if (slot.starting === null) slot.failures = 0
    this.#pump()
    try {
      const outcome = await state.outcome
      const absent = this.#missingLanes()
      for (const fallback of absent) this.#events.tell('fallback', () => fallback)
      return { ...outcome, fallbacks: [...outcome.fallbacks, ...absent] }
    } finally {
      stopListening()
      this.#jobs.splice(this.#jobs.indexOf(state), 1)
      for (const slot of this.#slots) if (!slot.runs(state)) slot.releaseJob(state)
    }
  }

  /** Ends the lanes that have nothing to do; they come back with the next call. */
  async trim(): Promise<void> {
    await Promise.all(this.#slots.filter((slot) => slot.inFlight.size === 0).map((slot) => this.#stop(slot)))
  }

  /** Ends every lane; pending jobs fail with a RuntimeClosedError. */
  async close(): Promise<void> {
    this.#closed = true
    for (const state of [...this.#jobs])
      state.fail(new RuntimeClosedError('runtime: expected to stay open until the call ends, but it was closed'))
    for (const slot of this.#slots) {
      for (const state of slot.inFlight.values()) slot.lane?.cancel(state.id)
    }
    await Promise.all(this.#slots.map((slot) => this.#stop(slot)))
  }

  /** Lanes that could not be started again: the others did their work. */
  #missingLanes(): Fallback[] {
    return this.#slots.flatMap(({ index, config, ready, startError }) =>
      ready || startError === undefined
        ? []
        : [{ what: `no lane ${index} (${config.kind})`, reason: startError.message }],
    )
  }

  async #start(slot: Slot): Promise<void> {
    try {
      await slot.start((reason) => this.#lost(slot, reason))
    } catch (error) {
      this.#tellLane(slot, 'failed', error)
      throw error
    }
    if (this.#closed) return slot.stop()
    this.#tellLane(slot, 'ready')
    this.#pump()
  }

  async #stop(slot: Slot): Promise<void> {
    if (slot.ready) this.#tellLane(slot, 'stopped')
    await slot.stop()
  }

  #tellLane(slot: Slot, state: RuntimeEvents['lane']['state'], reason?: unknown): void {
    this.#events.tell('lane', () => ({
      ...this.#laneOf(slot),
      state,
      ...(reason === undefined ? {} : { reason: reasonOf(reason) }),
    }))
  }

  #laneOf({ index, config: { kind } }: Slot): EventLane {
    return { lane: index, kind, thread: this.#thread }
  }

  /** Gives tasks to every lane that has room, and starts lanes where tasks wait for one. */
  #pump(): void {
    let given = true
    while (given) {
      given = false
      for (const slot of this.#slots) if (slot.takesWork && this.#feed(slot)) given = true
    }
    if (this.#closed || !this.#jobs.some((state) => state.waiting > 0)) return
    for (const slot of this.#slots)
      if (slot.lane === null && slot.starting === null && slot.failures < MAX_START_FAILURES) this.#revive(slot)
    if (this.#slots.every((slot) => slot.lane === null && slot.starting === null)) this.#giveUp()
  }

  #feed(slot: Slot): boolean {
    let next: { readonly state: JobState; readonly bench: BenchName } | undefined
    for (const state of this.#jobs) {
      if (next !== undefined && !goesFirst(state, next.state)) continue
      const bench = this.#roomFor(slot, state)
      if (bench !== null) next = { state, bench }
    }
    const task = next?.state.take(slot.groupOf(next.state))
    if (next === undefined || task === undefined) return false
    this.#dispatch(slot, next.state, task, next.bench)
    return true
  }

  /** Where the lane has room for a task of the job; null: nowhere. */
  #roomFor(slot: Slot, state: JobState): BenchName | null {
    if (state.waiting === 0) return null
    const lanesOfJob = this.#slots.filter((other) => other.runs(state))
    if (lanesOfJob.length >= state.job.maxLanes && !lanesOfJob.includes(slot)) return null
    if (slot.sharesWith(state)) return slot.hasRoomBeside(state) ? 'beside' : null
    if (state.job.isPass === true) return slot.runs(state) ? null : 'main'
    // Its plan has room for `depth` tasks at a lane, on both benches together.
    if (slot.countOf(state) >= state.job.depth) return null
    const inFlight = slot.onMain.filter(({ job }) => job.isPass !== true).length
    if (inFlight === 0) return 'main'
    // A task that waits behind another would be one that an idle lane could have, or would hold up another call's.
    return inFlight < state.job.depth && state.waiting >= this.#slots.length && this.#isAlone(state) ? 'main' : null
  }

  #isAlone(state: JobState): boolean {
    return this.#jobs.every((other) => other === state || other.settled)
  }

  #dispatch(slot: Slot, state: JobState, task: JobTask, bench: BenchName): void {
    slot.begin(task, state, bench)
    this.#stopBeating ??= this.#heartbeat(() => this.#beat())
    this.#send(slot, state, task, bench).then(
      (response) => this.#settle(slot, state, task, () => this.#done(slot, state, task, response, bench)),
      (error: unknown) => this.#settle(slot, state, task, () => this.#failed(slot, state, task, error)),
    )
  }

  async #send(slot: Slot, state: JobState, task: JobTask, bench: BenchName): Promise<TaskResponse> {
    state.job.dispatched?.(task)
    const request = slot.request(state, task, this.#shelf.kernels)
    return await slot.run(bench === 'beside' ? { ...request, beside: true } : request)
  }

  /**
   * Takes in how a task ended. What is thrown meanwhile, by a job or by a caller's own function, ends the job: nothing
   * is lost.
   */
  #settle(slot: Slot, state: JobState, task: JobTask, takeIn: () => void): void {
    slot.end(task)
    try {
      takeIn()
    } catch (error) {
      this.#abandon(state, error)
    }
    this.#rest(slot, state)
  }

  #done(slot: Slot, state: JobState, task: JobTask, response: TaskResponse, bench: BenchName): void {
    const { results, fallbacks } = response
    slot.failures = 0
    slot.answered(response, state, bench)
    if (state.settled) return state.drop(task)
    for (const fallback of fallbacks) if (state.noteFallback(fallback)) this.#events.tell('fallback', () => fallback)
    const endMs = performance.now()
    state.job.completed(task, results, { lane: slot.index, kind: slot.config.kind, endMs })
    const busyMs = results.reduce((sum, result) => sum + result.elapsedMs, 0)
    const [first] = results
    const tasks = first !== undefined && 'tasks' in first ? first.tasks : 1
    this.#events.tell('task', () => ({
      ...this.#laneOf(slot),
      what: task.tasks[0]?.kind ?? 'attention',
      tasks: Math.max(tasks, task.tasks.length),
      startMs: endMs - busyMs,
      endMs,
    }))
    state.complete(task, slot.index, {
      tasks,
      kind: slot.config.kind,
      kernels: slot.hello?.kernels ?? '',
      busyMs,
      residentBytes: slot.residentBytes,
    })
  }

  #failed(slot: Slot, state: JobState, task: JobTask, error: unknown): void {
    if (error instanceof LaneLost) {
      state.job.undone?.(task)
      if (state.giveBack(task)) {
        const tasks = task.tasks.length
        return this.#events.tell('retry', () => ({ ...this.#laneOf(slot), tasks, reason: reasonOf(error) }))
      }
      const message = `worker: expected a task to end within ${MAX_TRIES} tries, but its worker was lost each time`
      return this.#abandon(state, new WorkerLostError(message, { cause: error.cause, details: { tries: MAX_TRIES } }))
    }
    state.drop(task)
    if (!(error instanceof TaskCancelled)) this.#abandon(state, error)
    else if (!state.settled)
      this.#abandon(
        state,
        new ProtocolError('worker: expected a result, got word that the task was cancelled, which it was not'),
      )
  }

  /**
   * After each task: the lane lets go of a job that is over, lets the process end if nothing is left, and takes the
   * next.
   */
  #rest(slot: Slot, state: JobState): void {
    if (state.settled && !slot.runs(state)) slot.releaseJob(state)
    if (slot.inFlight.size === 0) slot.lane?.keepAlive(false)
    if (this.#slots.every(({ inFlight }) => inFlight.size === 0)) {
      this.#stopBeating?.()
      this.#stopBeating = null
    }
    this.#pump()
  }

  #beat(): void {
    for (const slot of this.#slots) slot.beat()
    this.#pump()
  }

  /** The job is over without a result; its tasks are cancelled where they run. */
  #abandon(state: JobState, reason: unknown): void {
    state.fail(reason)
    for (const slot of this.#slots) if (slot.runs(state)) slot.lane?.cancel(state.id)
  }

  #lost(slot: Slot, reason: Error): void {
    slot.failures++
    slot.lastFailure = reason
    this.#tellLane(slot, 'lost', reason)
    slot.clear()
    // Its calls reject with a LaneLost by themselves, in `#failed`.
    this.#pump()
  }

  #revive(slot: Slot): void {
    this.#start(slot).catch(() => this.#pump())
  }

  /** No lane runs and none can be started: because the host refuses, or because workers die, also while they start. */
  #giveUp(): void {
    const failures = this.#slots.map((slot) => slot.lastFailure)
    const death = failures.find((failure) => !(failure instanceof BackendUnavailableError))
    const cause = death instanceof LaneLost ? death.cause : (death ?? failures[0])
    const unavailable = cause instanceof BackendUnavailableError
    for (const state of [...this.#jobs]) {
      if (state.waiting === 0) continue
      const message = `worker: expected a lane to run on, but none could be started again after ${MAX_START_FAILURES} tries`
      this.#abandon(
        state,
        unavailable ? cause : new WorkerLostError(message, { cause, details: { tries: MAX_START_FAILURES } }),
      )
    }
  }
}
