import { transfer } from 'comlink'
import { ableTo, type Backend, type TaskContext } from '../backends/backend.ts'
import { ProtocolError } from '../core/errors.ts'
import { isShared } from '../core/shared-memory.ts'
import { countSharedBytes } from '../core/shared-pressure.ts'
import { unpackLarge } from '../protocol/large-array.ts'
import { PROTOCOL_VERSION, type LaneApi, type LaneConfig, type LaneHello, type Task, type TaskRequest, type TaskResponse, type TaskResult } from '../protocol/messages.ts'
import { stageTask } from '../protocol/stage-template.ts'
import type { RowStageResult, RowStageTask } from '../protocol/stage.ts'
import type { PassWork, StagePass } from '../protocol/stage-pass.ts'
import type { ArrayId, TaskArray } from '../protocol/task.ts'
import { createBackend } from './create-backend.ts'
import { Pacer, takeTurn, TaskCancelled } from './pacer.ts'
import { PassRun } from './pass-run.ts'

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

  /**
   * Runs tasks in the order of the calls: one after the other, unless the backend takes more at once. The chunks of a pass
   * stand in line one by one, so that other calls' tasks come in between.
   */
  run(request: TaskRequest): Promise<TaskResponse> {
    this.#countQueued(request.jobId, 1)
    const [task] = request.tasks
    const run = task?.kind === 'pass' ? this.#runPass(request, task) : this.#inLine(() => this.#execute(request))
    return run.finally(() => this.#countQueued(request.jobId, -1))
  }

  release(ids: readonly ArrayId[]): void {
    const sharedBytes = ids.reduce((sum, id) => sum + sharedBytesOf(this.#arrays.get(id)), 0)
    for (const id of ids) this.#arrays.delete(id)
    this.#backend?.release?.(ids)
    // Later: now the caller may still hold them.
    if (sharedBytes > 0) setTimeout(() => countSharedBytes(sharedBytes), 0)
  }

  cancel(jobId: number): void {
    if (this.#queuedOfJob.has(jobId)) this.#cancelled.add(jobId)
  }

  dispose(): void {
    this.#arrays.clear()
    this.#backend?.dispose()
    this.#backend = null
  }

  /** Runs work when its turn has come. */
  #inLine<T>(work: () => T | Promise<T>): Promise<T> {
    const queue = this.#requests++ % this.#tails.length
    const run = (this.#tails[queue] ?? Promise.resolve()).then(work)
    this.#tails[queue] = run.catch(() => undefined)
    return run
  }

  async #execute(request: TaskRequest): Promise<TaskResponse> {
    this.#takeArrays(request)
    const results: TaskResult[] = []
    for (const task of request.tasks) results.push(await this.#runTask(task, request.jobId))
    return this.#respond(results)
  }

  async #runPass(request: TaskRequest, pass: StagePass): Promise<TaskResponse> {
    const { jobId } = request
    const { made = [], returned = [] } = pass.alone ?? {}
    await this.#inLine(() => this.#takeArrays(request))
    for (const { id, length, integers } of made) this.#arrays.set(id, integers ? new Int32Array(length) : new Float32Array(length))
    const run = new PassRun(pass, {
      run: (next) =>
        this.#inLine(async () => {
          this.#checkCancelled(jobId)
          const work = next()
          return work === null ? null : this.#runWork(work, jobId)
        }),
      takeTurn: async () => {
        await takeTurn()
        this.#checkCancelled(jobId)
      },
    })
    try {
      const result = await run.run()
      return this.#respond([pass.alone === undefined ? result : { ...result, returned: returned.map((id) => this.#array(id)) }])
    } finally {
      this.release(made.map(({ id }) => id))
    }
  }

  #runWork(work: PassWork, jobId: number): Promise<{ readonly elapsedMs: number }> {
    const backend = this.#started()
    if (work.kind === 'rows') return this.#runRows(work, jobId)
    if (work.kind === 'sums') return ableTo(backend, 'sums')(work, this.#context(jobId))
    return ableTo(backend, 'attentionBackward')(work, this.#context(jobId))
  }

  /** Arrays come and go in the order of the requests, also of those that were cancelled: the pool counts on what it sent. */
  #takeArrays({ attach, release }: TaskRequest): void {
    this.release(release)
    for (const { id, array } of attach) this.#arrays.set(id, unpackLarge(array))
  }

  #runTask(task: Task, jobId: number): Promise<TaskResult> {
    switch (task.kind) {
      case 'attention':
        return this.#started().attention(task, this.#context(jobId))
      case 'attention-backward':
        return ableTo(this.#started(), 'attentionBackward')(task, this.#context(jobId))
      case 'attention-bias':
        return ableTo(this.#started(), 'attentionBias')(task, this.#context(jobId))
      case 'attention-transposed':
        return ableTo(this.#started(), 'attentionTransposed')(task, this.#context(jobId))
      case 'stage':
        return this.#runRows(stageTask(task.stage, task.chunk), jobId)
      case 'pass':
        throw new ProtocolError('lane: expected a pass in a message of its own')
    }
  }

  #runRows(task: RowStageTask, jobId: number): Promise<RowStageResult> {
    return ableTo(this.#started(), 'rows')(task, this.#context(jobId))
  }

  #started(): Backend {
    if (this.#backend === null) throw new ProtocolError('lane: expected start() before run()')
    return this.#backend
  }

  #context(jobId: number): TaskContext {
    this.#checkCancelled(jobId)
    const pacer = new Pacer(() => this.#cancelled.has(jobId))
    return { array: (id) => this.#array(id), pace: () => pacer.pace() }
  }

  #checkCancelled(jobId: number): void {
    if (this.#cancelled.has(jobId)) throw new TaskCancelled()
  }

  #respond(results: readonly TaskResult[]): TaskResponse {
    const backend = this.#started()
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

function sharedBytesOf(array: TaskArray | undefined): number {
  return array !== undefined && isShared(array) ? array.byteLength : 0
}

/** The results' own buffers: they are handed over, not copied. */
function buffersOf(results: readonly TaskResult[]): ArrayBuffer[] {
  const arrays = results.flatMap((result): unknown[] => Object.values(result).flat()).filter((value) => ArrayBuffer.isView(value) && !isShared(value)) as ArrayBufferView<ArrayBuffer>[]
  return [...new Set(arrays.map((array) => array.buffer))]
}
