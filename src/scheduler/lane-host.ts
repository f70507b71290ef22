import { transfer } from 'comlink'
import { ableTo, type Backend, type TaskContext } from '../backends/backend.ts'
import { ProtocolError } from '../core/errors.ts'
import { isShared } from '../core/shared-memory.ts'
import { countSharedBytes } from '../core/shared-pressure.ts'
import { unpackLarge } from '../protocol/large-array.ts'
import {
  PROTOCOL_VERSION,
  type LaneApi,
  type LaneConfig,
  type LaneHello,
  type SentKernels,
  type Task,
  type TaskRequest,
  type TaskResponse,
  type TaskResult,
} from '../protocol/messages.ts'
import { stageTask } from '../protocol/stage-task.ts'
import type { PassWork, StagePass } from '../protocol/stage-pass.ts'
import type { ArrayId, AttentionTask, TaskArray } from '../protocol/task.ts'
import { Bench } from './bench.ts'
import { runElements } from './run-elements.ts'
import { Pacer, takeTurn, TaskCancelled } from './pacer.ts'
import { PassRun } from './pass-run.ts'

type Arrays = ReadonlyMap<ArrayId, TaskArray>

export interface CreatedBackend {
  readonly backend: Backend
  /** the binary or GPU that it runs, for reports */
  readonly kernels: string
}

/**
 * Makes what a lane computes with. @param sent kernels that came with tasks; more come later
 *
 * @throws {BackendUnavailableError} when this host cannot run it
 */
export type CreateBackend = (config: LaneConfig, sent: SentKernels) => Promise<CreatedBackend>

/**
 * A lane where it runs, in a worker or on the calling thread: its backend, its arrays and its queue of tasks. A long
 * task must not hold up the short ones of other calls: those run on a second bench, a backend of their own, made when
 * it is first needed. The tasks on both take turns of the event loop, so that each gets half of the thread.
 */
export class LaneHost implements LaneApi {
  #config: LaneConfig | null = null
  #main: Bench | null = null
  #beside: Promise<Bench> | null = null
  #besideBackend: Backend | null = null
  #arrays: Arrays = new Map()
  readonly #sent: SentKernels = {}
  readonly #cancelled = new Set<number>()
  readonly #queuedOfJob = new Map<number, number>()
  /** what stops work that waits in line, for each job */
  readonly #waitingOfJob = new Map<number, Set<() => void>>()

  /** @param inWorker whether arrays come by message: each message makes references of its own to shared memory */
  constructor(
    private readonly createBackend: CreateBackend,
    private readonly inWorker = true,
  ) {}

  async start(config: LaneConfig): Promise<LaneHello> {
    const { backend, kernels } = await this.createBackend(config, this.#sent)
    this.#config = config
    this.#main = new Bench(backend)
    const hello = { version: PROTOCOL_VERSION, kernels, residentBytes: backend.residentBytes() }
    return backend.facts === undefined ? hello : { ...hello, facts: backend.facts }
  }

  /**
   * Runs tasks in the order of the calls: one after the other, unless the backend takes more at once, or they are to
   * run beside those. The chunks of a pass stand in line one by one, so that other calls' tasks come in between.
   */
  async run(request: TaskRequest): Promise<TaskResponse> {
    const { jobId, kernels } = request
    this.#countQueued(jobId, 1)
    Object.assign(this.#sent, kernels)
    try {
      const arrays = this.#receive(request)
      const bench = request.beside ? await this.#besideBench() : this.#started()
      const [task] = request.tasks
      if (task?.kind === 'pass') return await this.#runPass(bench, task, arrays, jobId)
      return await this.#inLine(bench, jobId, () => this.#execute(bench, request, arrays))
    } finally {
      this.#countQueued(jobId, -1)
    }
  }

  release(ids: readonly ArrayId[]): void {
    this.#receive({ attach: [], release: ids })
    this.#main?.backend.release?.(ids)
  }

  cancel(jobId: number): void {
    if (this.#queuedOfJob.has(jobId)) this.#cancelled.add(jobId)
    for (const giveUp of this.#waitingOfJob.get(jobId) ?? []) giveUp()
  }

  ping(): void {
    // The answer is all.
  }

  dispose(): void {
    this.#arrays = new Map()
    this.#main?.backend.dispose()
    this.#main = null
    void this.#beside?.then(({ backend }) => backend.dispose())
    this.#beside = null
    this.#besideBackend = null
  }

  /**
   * Takes a request's arrays in, also where it is cancelled: the pool counts on what it sent. Each request goes on
   * seeing the arrays as they were when it came, whichever ends first.
   */
  #receive({ attach, release }: Pick<TaskRequest, 'attach' | 'release'>): Arrays {
    if (attach.length === 0 && release.length === 0) return this.#arrays
    const sharedBytes = this.inWorker ? release.reduce((sum, id) => sum + sharedBytesOf(this.#arrays.get(id)), 0) : 0
    const arrays = new Map(this.#arrays)
    for (const id of release) arrays.delete(id)
    for (const { id, array } of attach) arrays.set(id, unpackLarge(array))
    this.#arrays = arrays
    // Later: now the caller may still hold them.
    if (sharedBytes > 0) setTimeout(() => countSharedBytes(sharedBytes), 0)
    return arrays
  }

  /**
   * Runs work when its turn has come, unless the job is cancelled before: then it fails at once, and its turn passes.
   */
  #inLine<T>(bench: Bench, jobId: number, work: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      let hasEnded = false
      const giveUp = (): void => {
        hasEnded = true
        this.#waitingOfJob.get(jobId)?.delete(giveUp)
        reject(new TaskCancelled())
      }
      const waiting = this.#waitingOfJob.get(jobId) ?? new Set()
      this.#waitingOfJob.set(jobId, waiting.add(giveUp))
      bench
        .inLine(async () => {
          if (hasEnded) return
          waiting.delete(giveUp)
          this.#checkCancelled(jobId)
          resolve(await work())
        })
        .catch(reject)
    })
  }

  async #execute(bench: Bench, request: TaskRequest, arrays: Arrays): Promise<TaskResponse> {
    if (request.release.length > 0) bench.backend.release?.(request.release)
    return this.#respond(bench, await this.#runTasks(bench, request, arrays))
  }

  async #runTasks({ backend }: Bench, { tasks, jobId }: TaskRequest, arrays: Arrays): Promise<TaskResult[]> {
    if (tasks.length > 1 && backend.attentionAll !== undefined && tasks.every(isAttention))
      return backend.attentionAll(tasks, this.#context(jobId, arrays))
    const results: TaskResult[] = []
    for (const task of tasks) results.push(await this.#runTask(backend, task, this.#context(jobId, arrays)))
    return results
  }

  async #runPass(bench: Bench, pass: StagePass, attached: Arrays, jobId: number): Promise<TaskResponse> {
    const { made = [], returned = [] } = pass.alone ?? {}
    const own = made.map(({ id, length, integers }): [ArrayId, TaskArray] => [
      id,
      integers ? new Int32Array(length) : new Float32Array(length),
    ])
    const arrays = own.length === 0 ? attached : new Map([...attached, ...own])
    const run = new PassRun(pass, {
      run: (next) =>
        this.#inLine(bench, jobId, async () => {
          const work = next()
          return work === null ? null : runWork(bench, work, this.#context(jobId, arrays))
        }),
      takeTurn: async () => {
        await takeTurn()
        this.#checkCancelled(jobId)
      },
    })
    const result = await run.run()
    return this.#respond(bench, [
      pass.alone === undefined ? result : { ...result, returned: returned.map((id) => arrayOf(arrays, id)) },
    ])
  }

  #runTask(backend: Backend, task: Task, context: TaskContext): Promise<TaskResult> {
    switch (task.kind) {
      case 'attention':
        return backend.attention(task, context)
      case 'attention-heads':
        return ableTo(backend, 'attentionHeads')(task, context)
      case 'attention-backward':
        return ableTo(backend, 'attentionBackward')(task, context)
      case 'attention-bias':
        return ableTo(backend, 'attentionBias')(task, context)
      case 'attention-transposed':
        return ableTo(backend, 'attentionTransposed')(task, context)
      case 'stage':
        return ableTo(backend, 'rows')(stageTask(task.stage, task.chunk), context)
      case 'pass':
        throw new ProtocolError('lane: expected a pass in a message of its own')
    }
  }

  #started(): Bench {
    if (this.#main === null) throw new ProtocolError('lane: expected start() before run()')
    return this.#main
  }

  #besideBench(): Promise<Bench> {
    if (this.#config === null) throw new ProtocolError('lane: expected start() before run()')
    this.#beside ??= this.createBackend(this.#config, this.#sent).then(
      ({ backend }) => {
        this.#besideBackend = backend
        return new Bench(backend)
      },
      (error: unknown) => {
        this.#beside = null
        throw error
      },
    )
    return this.#beside
  }

  #context(jobId: number, arrays: Arrays): TaskContext {
    this.#checkCancelled(jobId)
    const pacer = new Pacer(() => this.#cancelled.has(jobId))
    return { array: (id) => arrayOf(arrays, id), pace: () => pacer.pace() }
  }

  #checkCancelled(jobId: number): void {
    if (this.#cancelled.has(jobId)) throw new TaskCancelled()
  }

  #respond(bench: Bench, results: readonly TaskResult[]): TaskResponse {
    const { backend } = this.#started()
    const residentBytes = backend.takePeakBytes?.() ?? backend.residentBytes()
    const keptBytes = backend.keptBytes?.() ?? backend.residentBytes()
    const held = { residentBytes, keptBytes, besideBytes: this.#besideBackend?.residentBytes() ?? 0 }
    const ofStages = {
      stageBytes: backend.stageBytes?.() ?? 0,
      besideStageBytes: this.#besideBackend?.stageBytes?.() ?? 0,
    }
    return transfer(
      { results, ...held, ...ofStages, fallbacks: bench.backend.takeFallbacks?.() ?? [] },
      buffersOf(results),
    )
  }

  #countQueued(jobId: number, change: number): void {
    const queued = (this.#queuedOfJob.get(jobId) ?? 0) + change
    if (queued > 0) {
      this.#queuedOfJob.set(jobId, queued)
    } else {
      this.#queuedOfJob.delete(jobId)
      this.#waitingOfJob.delete(jobId)
      this.#cancelled.delete(jobId)
    }
  }
}

function isAttention(task: Task): task is AttentionTask {
  return task.kind === 'attention'
}

function runWork({ backend }: Bench, work: PassWork, context: TaskContext): Promise<{ readonly elapsedMs: number }> {
  if (work.kind === 'rows') return ableTo(backend, 'rows')(work, context)
  if (work.kind === 'sums') return ableTo(backend, 'sums')(work, context)
  if (work.kind === 'elements') return runElements(work, context)
  return ableTo(backend, 'attentionBackward')(work, context)
}

function arrayOf(arrays: Arrays, id: ArrayId): TaskArray {
  const array = arrays.get(id)
  if (array === undefined)
    throw new ProtocolError(`lane: expected array ${id} to be attached before the task that uses it`)
  return array
}

function sharedBytesOf(array: TaskArray | undefined): number {
  return array !== undefined && isShared(array) ? array.byteLength : 0
}

/** The results' own buffers: they are handed over, not copied. */
function buffersOf(results: readonly TaskResult[]): ArrayBuffer[] {
  const arrays = results
    .flatMap((result): unknown[] => Object.values(result).flat())
    .filter((value) => ArrayBuffer.isView(value) && !isShared(value)) as ArrayBufferView<ArrayBuffer>[]
  return [...new Set(arrays.map((array) => array.buffer))]
}
