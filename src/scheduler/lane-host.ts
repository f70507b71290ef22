import { transfer } from 'comlink'
import type { Backend, TaskContext } from '../backends/backend.ts'
import { BackendUnavailableError, ProtocolError } from '../core/errors.ts'
import { isShared } from '../core/shared-memory.ts'
import { unpackLarge } from '../protocol/large-array.ts'
import { PROTOCOL_VERSION, type LaneApi, type LaneConfig, type LaneHello, type Task, type TaskRequest, type TaskResponse, type TaskResult } from '../protocol/messages.ts'
import type { ArrayId, TaskArray } from '../protocol/task.ts'
import { createBackend } from './create-backend.ts'
import { Pacer, TaskCancelled } from './pacer.ts'

/** A lane where it runs, in a worker or on the calling thread: its backend, its arrays and its queue of tasks. */
export class LaneHost implements LaneApi {
  #backend: Backend | null = null
  readonly #arrays = new Map<ArrayId, TaskArray>()
  readonly #cancelled = new Set<number>()
  readonly #queuedOfJob = new Map<number, number>()
  /** the ends of the queues, one for each task that the backend takes at once; requests go to them in turn */
  #tails: Promise<unknown>[] = [Promise.resolve()]
  #requests = 0

  async start(config: LaneConfig): Promise<LaneHello> {
    const { backend, kernels } = await createBackend(config)
    this.#backend = backend
    this.#tails = Array.from({ length: backend.overlap ?? 1 }, () => Promise.resolve())
    const hello = { version: PROTOCOL_VERSION, kernels, residentBytes: backend.residentBytes() }
    return backend.facts === undefined ? hello : { ...hello, facts: backend.facts }
  }

  /** Runs tasks in the order of the calls: one after the other, unless the backend takes more at once. */
  run(request: TaskRequest): Promise<TaskResponse> {
    this.#countQueued(request.jobId, 1)
    const queue = this.#requests++ % this.#tails.length
    const run = (this.#tails[queue] ?? Promise.resolve()).then(() => this.#execute(request)).finally(() => this.#countQueued(request.jobId, -1))
    this.#tails[queue] = run.catch(() => undefined)
    return run
  }

  release(ids: readonly ArrayId[]): void {
    for (const id of ids) this.#arrays.delete(id)
    this.#backend?.release?.(ids)
  }

  cancel(jobId: number): void {
    if (this.#queuedOfJob.has(jobId)) this.#cancelled.add(jobId)
  }

  dispose(): void {
    this.#arrays.clear()
    this.#backend?.dispose()
    this.#backend = null
  }

  /** Arrays come and go in the order of the requests, also of those that were cancelled: the pool counts on what it sent. */
  async #execute({ jobId, tasks, attach, release }: TaskRequest): Promise<TaskResponse> {
    const backend = this.#backend
    if (backend === null) throw new ProtocolError('lane: expected start() before run()')
    this.release(release)
    for (const { id, array } of attach) this.#arrays.set(id, unpackLarge(array))
    const isCancelled = (): boolean => this.#cancelled.has(jobId)
    if (isCancelled()) throw new TaskCancelled()
    const pacer = new Pacer(isCancelled)
    const context: TaskContext = { array: (id) => this.#array(id), pace: () => pacer.pace() }
    const results: TaskResult[] = []
    for (const task of tasks) results.push(await runTask(backend, task, context))
    const residentBytes = backend.takePeakBytes?.() ?? backend.residentBytes()
    const keptBytes = backend.keptBytes?.() ?? backend.residentBytes()
    return transfer({ results, residentBytes, keptBytes, fallbacks: backend.takeFallbacks?.() ?? [] }, buffersOf(results))
  }

  #array(id: ArrayId): TaskArray {
    const array = this.#arrays.get(id)
    if (array === undefined) throw new ProtocolError(`lane: expected array ${id} to be attached before the task that uses it`)
    return array
  }

  #countQueued(jobId: number, change: number): void {
    const queued = (this.#queuedOfJob.get(jobId) ?? 0) + change
    if (queued > 0) {
      this.#queuedOfJob.set(jobId, queued)
    } else {
      this.#queuedOfJob.delete(jobId)
      this.#cancelled.delete(jobId)
    }
  }
}

function runTask(backend: Backend, task: Task, context: TaskContext): Promise<TaskResult> {
  if (task.kind === 'attention') return backend.attention(task, context)
  if (backend.rows === undefined) throw new BackendUnavailableError(`lane: expected a backend with row-wise kernels, got ${backend.kind}`)
  return backend.rows(task, context)
}

/** The results' own buffers: they are handed over, not copied. */
function buffersOf(results: readonly TaskResult[]): ArrayBuffer[] {
  const arrays = results.flatMap((result): unknown[] => Object.values(result).flat()).filter((value) => ArrayBuffer.isView(value) && !isShared(value)) as ArrayBufferView<ArrayBuffer>[]
  return [...new Set(arrays.map((array) => array.buffer))]
}
