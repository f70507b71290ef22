import { releaseProxy, transfer, wrap, type Endpoint, type Remote } from 'comlink'
import { BackendUnavailableError, ProtocolError } from '../core/errors.ts'
import { Loss } from '../core/loss.ts'
import { isSharedBuffer } from '../core/shared-memory.ts'
import { checkHello, checkResponse } from '../protocol/check-response.ts'
import { installErrorTransfer } from '../protocol/error-transfer.ts'
import { packLarge } from '../protocol/large-array.ts'
import type { LaneApi, LaneConfig, LaneHello, TaskRequest, TaskResponse } from '../protocol/messages.ts'
import type { ArrayId } from '../protocol/task.ts'
import { isRefusal, laneError } from './lane-error.ts'
import { LaneLost, type Lane } from './lane.ts'
import { spawnWorker, type WorkerHandle, type WorkerSource } from './spawn-worker.ts'

/** A worker that has not answered by then counts as failed to start. */
const START_TIMEOUT_MS = 20_000

/** A worker that has not ended by then is not waited for. */
const STOP_TIMEOUT_MS = 2_000

/** A lane in a worker. Every call is raced against the worker's death, because Comlink's own promise would hang. */
export class WorkerLane implements Lane {
  readonly lost: Promise<Error>
  readonly #worker: WorkerHandle
  readonly #remote: Remote<LaneApi>
  readonly #death = new Loss<LaneLost>()
  #markLost: (reason: Error) => void = () => undefined
  #stopped: Promise<void> | null = null
  /** settles when a GPU lane has its device, or none */
  #opening: Promise<unknown> = Promise.resolve()
  #isMute = false

  /** @throws {BackendUnavailableError} when no worker can be made */
  constructor(source: WorkerSource) {
    installErrorTransfer()
    this.#worker = spawnWorker(source)
    this.lost = new Promise((resolve) => (this.#markLost = resolve))
    this.#worker.onLost((reason) => this.#lose(reason))
    this.#remote = wrap<LaneApi>(this.#endpoint())
  }

  async start(config: LaneConfig): Promise<LaneHello> {
    let timer: ReturnType<typeof setTimeout> | undefined
    const late = new Promise<never>((_resolve, reject) => {
      const message = `worker: expected an answer within ${START_TIMEOUT_MS} ms of its start, got none`
      timer = setTimeout(() => reject(new BackendUnavailableError(message)), START_TIMEOUT_MS)
    })
    try {
      const started = this.#remote.start(config)
      if (config.kind === 'webgpu') this.#opening = started.catch(() => undefined)
      const hello: unknown = await Promise.race([this.#death.race(started), late])
      checkHello(hello)
      return hello
    } catch (error) {
      throw error instanceof LaneLost ? error : laneError(error)
    } finally {
      clearTimeout(timer)
    }
  }

  /**
   * A worker that breaks the protocol is not asked again: it counts as lost from then on. So does one to which the host
   * refused to post: the arrays of that message never came, and the pool counts on them.
   */
  async run(request: TaskRequest): Promise<TaskResponse> {
    const attach = request.attach.map(({ id, array }) => ({ id, array: packLarge(array) }))
    try {
      const response: unknown = await this.#death.race(
        this.#remote.run(transfer({ ...request, attach }, attachedBuffers(request.attach))),
      )
      checkResponse(request.tasks, response)
      return response
    } catch (thrown) {
      if (thrown instanceof LaneLost) throw thrown
      const error = laneError(thrown)
      if (error instanceof ProtocolError || isRefusal(thrown)) this.#lose(error)
      throw error
    }
  }

  ping(): Promise<void> {
    return this.#death.race(this.#remote.ping())
  }

  release(ids: readonly ArrayId[]): void {
    this.#tell(this.#remote.release([...ids]))
  }

  cancel(jobId: number): void {
    this.#tell(this.#remote.cancel(jobId))
  }

  keepAlive(alive: boolean): void {
    this.#worker.keepAlive(alive)
  }

  stop(reason = new Error('the lane was stopped')): Promise<void> {
    this.#stopped ??= this.#stop(reason)
    return this.#stopped
  }

  async #stop(reason: Error): Promise<void> {
    this.#isMute = true
    this.#lose(reason)
    let timer: ReturnType<typeof setTimeout> | undefined
    const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, STOP_TIMEOUT_MS)))
    // A worker that ends while it opens its device takes Node down with it (the package webgpu, 0.6).
    await Promise.race([this.#opening, late])
    this.#remote[releaseProxy]()
    // A worker of a caller's own making may throw here, or never settle: it is let go of all the same.
    await Promise.race([this.#worker.terminate().catch(() => undefined), late])
    clearTimeout(timer)
  }

  /** The worker's, until it is stopped: then Comlink's last message is not sent, which a worker may refuse. */
  #endpoint(): Endpoint {
    const { endpoint } = this.#worker
    return {
      postMessage: (message: unknown, transfers?: Transferable[]) => {
        if (!this.#isMute) endpoint.postMessage(message, transfers)
      },
      addEventListener: (type, listener, options) => endpoint.addEventListener(type, listener, options),
      removeEventListener: (type, listener, options) => endpoint.removeEventListener(type, listener, options),
      start: () => endpoint.start?.(),
    }
  }

  /** The pool hears of the loss before its calls fail: it must not send their tasks here again. */
  #lose(reason: Error): void {
    this.#markLost(reason)
    this.#death.happen(new LaneLost(reason))
  }

  /** One-way: whether the lane lives to hear it does not matter. */
  #tell(call: Promise<unknown>): void {
    call.catch(() => undefined)
  }
}

function attachedBuffers(attach: TaskRequest['attach']): ArrayBuffer[] {
  return attach.flatMap(({ array: { buffer } }) => (isSharedBuffer(buffer) ? [] : [buffer as ArrayBuffer]))
}
