import {
  laterKernelsOf,
  type LaneConfig,
  type LaneHello,
  type LaterKernels,
  type SentKernels,
  type TaskRequest,
  type TaskResponse,
} from '../protocol/messages.ts'
import type { ArrayId, AttachedArray } from '../protocol/task.ts'
import type { JobTask } from './job.ts'
import type { JobState } from './job-state.ts'
import { Pulse } from './heartbeat.ts'
import { mayRunBeside } from './job-order.ts'
import type { Lane } from './lane.ts'

/** Where a task runs at its lane: `beside` in turns with what is on the first. */
export type BenchName = 'main' | 'beside'

/** An array that its lane keeps from job to job: a copy, or shared memory that it goes on seeing. */
interface LastingArray {
  readonly bytes: number
  readonly copied: boolean
}

/** A place in the pool, which outlives the lanes that come and go in it. */
export class Slot {
  lane: Lane | null = null
  /** the start that is under way */
  starting: Promise<void> | null = null
  /** starts in a row that failed or died before any task was done */
  failures = 0
  lastFailure: unknown
  /** why the last start failed; undefined after one that did not */
  startError: Error | undefined
  hello: LaneHello | null = null
  readonly inFlight = new Map<JobTask, JobState>()
  #pulse: Pulse | null = null
  /** those of them that are on the lane's second bench */
  readonly #beside = new Set<JobTask>()
  /** which arrays its lane holds, and of which job */
  readonly #held = new Map<ArrayId, JobState>()
  /** arrays that outlive their job, the least recently used first */
  readonly #lasting = new Map<ArrayId, LastingArray>()
  readonly #groups = new Map<JobState, number>()
  /** arrays that its lane holds still, until the next message tells it */
  #unwanted: ArrayId[] = []
  readonly #bytes = { main: 0, beside: 0 }
  /** the parts of them that are memories for stages */
  readonly #stageBytes = { main: 0, beside: 0 }
  #keptBytes = 0
  /** those that its lane was sent */
  #kernels = new Set<LaterKernels>()

  constructor(
    readonly index: number,
    readonly config: LaneConfig,
    private readonly makeLane: (config: LaneConfig) => Lane,
    private readonly onResident: (change: number, cause?: JobState) => void,
    private readonly onLasting: (change: number) => void,
  ) {}

  /** bytes of the copies that stay with its lane from job to job */
  get lastingBytes(): number {
    return sumOfLasting([...this.#lasting.values()].filter(({ copied }) => copied))
  }

  /** bytes that the lane holds for itself */
  get residentBytes(): number {
    return this.#bytes.main + this.#bytes.beside
  }

  /** the part of them that is its second bench's */
  get besideBytes(): number {
    return this.#bytes.beside
  }

  /** the part of what the lane holds for itself that is its memory for stages */
  get stageBytes(): number {
    return this.#stageBytes.main + this.#stageBytes.beside
  }

  /** the part of it that is its second bench's */
  get besideStageBytes(): number {
    return this.#stageBytes.beside
  }

  #hold(bench: BenchName, bytes: number, cause?: JobState): void {
    const change = bytes - this.#bytes[bench]
    this.#bytes[bench] = bytes
    if (change !== 0) this.onResident(change, cause)
  }

  /**
   * What a task's answer says: the most that the lane held counts until the call is over, then what it keeps. Of the
   * bench that the task was not on, its job and plan know nothing.
   */
  answered(
    { residentBytes, keptBytes, besideBytes, stageBytes, besideStageBytes }: TaskResponse,
    state: JobState,
    bench: BenchName,
  ): void {
    if (bench === 'beside') this.#hold('beside', besideBytes, state)
    else this.#hold('main', Math.max(this.#bytes.main, residentBytes), state)
    this.#bytes.beside = besideBytes
    Object.assign(this.#stageBytes, { main: stageBytes, beside: besideStageBytes })
    this.#keptBytes = keptBytes
    this.#pulse?.heard()
  }

  /** Whether its lane may get work: it has started, and acknowledges what was cancelled. */
  get takesWork(): boolean {
    return this.ready && this.#pulse?.isOverdue(this.inFlight) !== true
  }

  /** A beat: a lane that has work and gives no sign of life is ended, and so counts as lost. */
  beat(): void {
    const silence = this.#pulse?.beat(this.inFlight) ?? null
    if (silence !== null) void this.lane?.stop(silence)
  }

  begin(task: JobTask, state: JobState, bench: BenchName): void {
    this.inFlight.set(task, state)
    if (bench === 'beside') this.#beside.add(task)
  }

  end(task: JobTask): void {
    this.inFlight.delete(task)
    this.#beside.delete(task)
  }

  /** The jobs whose tasks are on the lane's first bench, one entry for each task. */
  get onMain(): JobState[] {
    return [...this.inFlight].flatMap(([task, state]) => (this.#beside.has(task) ? [] : [state]))
  }

  /** Whether the lane works for other jobs, and a task of this one may run in turns with theirs. */
  sharesWith(state: JobState): boolean {
    if (this.config.kind !== 'wasm') return false
    const main = this.onMain
    return main.length > 0 && main.every((other) => other !== state && mayRunBeside(state, other))
  }

  /**
   * Whether the second bench is free: for one task of each job and one in all, passes aside, whose chunks let others
   * through.
   */
  hasRoomBeside(state: JobState): boolean {
    if (this.runs(state)) return false
    return state.job.isPass === true || [...this.#beside].every((task) => this.inFlight.get(task)?.job.isPass === true)
  }

  get ready(): boolean {
    return this.lane !== null && this.hello !== null
  }

  /** Starts a lane here; a second call waits for the first. `onLost` hears of the death of a lane that had started. */
  start(onLost: (reason: Error) => void): Promise<void> {
    this.starting ??= this.#start(onLost).finally(() => (this.starting = null))
    return this.starting
  }

  async #start(onLost: (reason: Error) => void): Promise<void> {
    let lane: Lane | null = null
    try {
      lane = this.makeLane(this.config)
      this.lane = lane
      const hello = await lane.start(this.config)
      if (this.lane !== lane) return // stopped meanwhile
      this.hello = hello
      this.startError = undefined
      this.#pulse = new Pulse(lane)
      this.#hold('main', hello.residentBytes)
      this.#keptBytes = hello.residentBytes
      if (this.inFlight.size === 0) lane.keepAlive(false)
    } catch (error) {
      if (lane !== null && this.lane !== lane) return // stopped meanwhile
      this.clear()
      this.failures++
      this.lastFailure = error
      this.startError = error instanceof Error ? error : new Error(String(error))
      void lane?.stop()
      throw error
    }
    void lane.lost.then((reason) => {
      void lane.stop() // an error or an unreadable message does not end a worker by itself
      if (this.lane === lane) onLost(reason)
    })
  }

  /**
   * The request for a task: attaches what the lane lacks and, without shared memory, lets go of what the task does not
   * need.
   *
   * @param kernels which the lane gets with its first task that needs them
   */
  request(state: JobState, jobTask: JobTask, kernels: SentKernels): TaskRequest {
    const { job } = state
    const missing = jobTask.needs.filter((id) => !this.#held.has(id) && !this.#lasting.has(id))
    const release = job.sharedMemory
      ? []
      : [...this.#held].filter(([id, owner]) => owner === state && !jobTask.needs.includes(id)).map(([id]) => id)
    // Let go first: a lane then holds the copies of one head at a time, as planned.
    for (const id of release) this.#forget(id)
    const lasting = missing.map((id) => job.lastingBytes?.(id) ?? 0)
    const dropped = this.#makeRoom(
      job,
      jobTask,
      lasting.reduce((sum, bytes) => sum + bytes, 0),
    )
    const attach: AttachedArray[] = missing.map((id) => ({ id, array: job.provide(id) }))
    missing.forEach((id, index) => {
      const bytes = lasting[index] ?? 0
      if (bytes > 0) this.#keep(id, { bytes, copied: !job.sharedMemory })
      else this.#held.set(id, state)
    })
    this.#groups.set(state, jobTask.group)
    return {
      jobId: state.id,
      attach,
      release: [...this.#takeUnwanted(), ...release, ...dropped],
      tasks: jobTask.tasks,
      ...this.#kernelsFor(jobTask, kernels),
    }
  }

  #kernelsFor({ tasks }: JobTask, kernels: SentKernels): Pick<TaskRequest, 'kernels'> {
    // The file of GPU lanes brings its own.
    if (this.config.kind !== 'wasm') return {}
    const names = [...new Set(tasks.flatMap(laterKernelsOf))].filter((name) => !this.#kernels.has(name))
    if (names.length === 0) return {}
    for (const name of names) this.#kernels.add(name)
    return { kernels: Object.fromEntries(names.map((name) => [name, kernels[name]])) }
  }

  /**
   * Notes which lasting arrays the task uses, and lets go of others where `bytes` more would be too many. Returns
   * those.
   */
  #makeRoom(job: JobState['job'], { needs }: JobTask, bytes: number): ArrayId[] {
    for (const id of needs) {
      const known = this.#lasting.get(id)
      if (known === undefined) continue
      this.#lasting.delete(id)
      this.#lasting.set(id, known)
    }
    let heldBytes = sumOfLasting(this.#lasting.values())
    const limitBytes = Math.max(job.lastingLimitBytes ?? 0, heldBytes)
    const dropped: ArrayId[] = []
    for (const [id, array] of bytes === 0 ? [] : this.#lasting) {
      if (heldBytes + bytes <= limitBytes) break
      if (needs.includes(id)) continue
      heldBytes -= array.bytes
      this.#drop(id)
      dropped.push(id)
    }
    return dropped
  }

  #keep(id: ArrayId, array: LastingArray): void {
    this.#lasting.set(id, array)
    if (array.copied) this.onLasting(array.bytes)
  }

  #drop(id: ArrayId): void {
    const array = this.#lasting.get(id)
    this.#lasting.delete(id)
    if (array?.copied === true) this.onLasting(-array.bytes)
  }

  run(request: TaskRequest): Promise<TaskResponse> {
    const lane = this.lane
    if (lane === null) return Promise.reject(new Error('slot: no lane'))
    lane.keepAlive(true)
    return lane.run(request)
  }

  /** Whether a task of the job is at its lane. */
  runs(state: JobState): boolean {
    return this.countOf(state) > 0
  }

  /** Tasks of the job that are at its lane, on either bench. */
  countOf(state: JobState): number {
    let count = 0
    for (const other of this.inFlight.values()) if (other === state) count++
    return count
  }

  groupOf(state: JobState): number | undefined {
    return this.#groups.get(state)
  }

  /** The job is over: its arrays are let go. The lane hears of it with its next task, or soon where none follows. */
  releaseJob(state: JobState): void {
    const ids = [...this.#held].filter(([, owner]) => owner === state).map(([id]) => id)
    for (const id of ids) this.#forget(id)
    this.#groups.delete(state)
    if (ids.length > 0 && this.#unwanted.length === 0) setTimeout(() => this.#tellUnwanted(), 0)
    this.#unwanted.push(...ids)
    if (this.#held.size === 0) this.#hold('main', this.#keptBytes)
  }

  /** The lane is gone: nothing of it counts any more. */
  clear(): void {
    this.lane = null
    this.hello = null
    this.#pulse = null
    this.#kernels = new Set()
    this.#hold('main', 0)
    this.#hold('beside', 0)
    Object.assign(this.#stageBytes, { main: 0, beside: 0 })
    for (const id of [...this.#held.keys()]) this.#forget(id)
    for (const id of [...this.#lasting.keys()]) this.#drop(id)
    this.#groups.clear()
    this.#unwanted = []
  }

  async stop(): Promise<void> {
    const lane = this.lane
    this.clear()
    await lane?.stop()
  }

  #takeUnwanted(): ArrayId[] {
    const ids = this.#unwanted
    this.#unwanted = []
    return ids
  }

  #tellUnwanted(): void {
    const ids = this.#takeUnwanted()
    if (ids.length > 0) this.lane?.release(ids)
  }

  #forget(id: ArrayId): void {
    this.#held.get(id)?.job.returned?.(id)
    this.#held.delete(id)
  }
}

function sumOfLasting(arrays: Iterable<LastingArray>): number {
  let bytes = 0
  for (const array of arrays) bytes += array.bytes
  return bytes
}
