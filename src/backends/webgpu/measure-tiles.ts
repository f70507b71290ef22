import { USAGE, MAP_READ } from './constants.ts'
import type { GpuDevice } from './gpu-device.ts'
import { attentionPartialKernel } from './kernels/attention-partial.wgsl.ts'
import { scoreParams } from './kernels/score-tile.wgsl.ts'
import { offeredTile, TILE_NAMES, tileRows, type TileChoice, type TileName, type TileTime } from './tile-choice.ts'

/** What is measured: rows × keys of one head of 64, and splits over the keys; little of it on a software adapter. */
const JOB = { rows: 1024, keys: 2048, splits: 16 } as const
const SOFTWARE_JOB = { rows: 256, keys: 512, splits: 1 } as const
const QUADS = 16
/** A timed run repeats the job up to about this time, so that submitting it does not count. */
const RUN_MS = 4
const RUNS = 3
/** Two variants sum the same products in the same order, but for rounding of the rescaling. */
const AGREEMENT = 1e-4
/** A variant must win by this to be chosen: less is noise. */
const MARGIN = 0.97

const remembered = new Map<string, Promise<TileChoice>>()

/**
 * The attention variant that is fastest on this device, by its own clock: measured once an adapter, some 50 ms after
 * the kernels are compiled. Software adapters keep the base kernel; `asked` skips the measurement.
 */
export function chooseTile(
  gpu: GpuDevice,
  asked: TileName | 'auto' = 'auto',
  measure: (gpu: GpuDevice) => Promise<TileTime[]> = measureTiles,
): Promise<TileChoice> {
  if (asked !== 'auto') return Promise.resolve({ tile: asked, reason: 'asked for', times: [] })
  if (gpu.fallback) return Promise.resolve({ tile: 'base', reason: 'the adapter computes in software', times: [] })
  const adapter = `${gpu.name}:${gpu.smallestSubgroup}:${gpu.limits.maxComputeWorkgroupStorageSize}`
  const known = remembered.get(adapter)
  if (known !== undefined) return known
  const choice = measure(gpu).then(choiceOf)
  remembered.set(adapter, choice)
  choice.catch(() => remembered.delete(adapter))
  return choice
}

/** The fastest of the measured variants; the base kernel unless another is clearly ahead. */
export function choiceOf(times: readonly TileTime[]): TileChoice {
  const measured = times.flatMap(({ tile, milliseconds }) => (milliseconds === null ? [] : [{ tile, milliseconds }]))
  const base = measured.find(({ tile }) => tile === 'base')
  const best = measured.reduce(
    (least, time) => (time.milliseconds < least.milliseconds ? time : least),
    base ?? { tile: 'base' as const, milliseconds: Infinity },
  )
  if (base === undefined || best.tile === 'base') return { tile: 'base', reason: 'no other variant was faster', times }
  const ratio = base.milliseconds / best.milliseconds
  if (best.milliseconds > MARGIN * base.milliseconds)
    return { tile: 'base', reason: `${best.tile} was only ${ratio.toFixed(2)} times as fast`, times }
  return { tile: best.tile, reason: `${ratio.toFixed(2)} times as fast as the base kernel here`, times }
}

/** Times every variant that the device can run, each answer held against the base kernel's first. */
export async function measureTiles(gpu: GpuDevice): Promise<TileTime[]> {
  const job = new TileJob(gpu)
  try {
    const expected = await job.partials('base')
    const times: TileTime[] = []
    for (const tile of TILE_NAMES) times.push(await timeOf(job, tile, expected))
    return times
  } finally {
    job.dispose()
  }
}

async function timeOf(job: TileJob, tile: TileName, expected: Float32Array): Promise<TileTime> {
  const refusal = job.refusal(tile)
  if (refusal !== undefined) return { tile, milliseconds: null, reason: refusal }
  try {
    const found = await job.partials(tile)
    const scale = Math.max(...expected.map(Math.abs))
    if (!found.every((value, at) => Math.abs(value - (expected[at] as number)) <= AGREEMENT * scale))
      return { tile, milliseconds: null, reason: 'its answer differs from the base kernel’s' }
    const once = await job.run(tile, 1)
    const repeats = Math.max(1, Math.min(64, Math.round(RUN_MS / Math.max(once, 0.05))))
    let best = Infinity
    for (let run = 0; run < RUNS; run++) best = Math.min(best, (await job.run(tile, repeats)) / repeats)
    return { tile, milliseconds: best }
  } catch (error) {
    if (error instanceof Error && error.name === 'DeviceLost') throw error
    return { tile, milliseconds: null, reason: error instanceof Error ? error.message : String(error) }
  }
}

/** One head's partials over made-up data. */
class TileJob {
  readonly #job: { readonly rows: number; readonly keys: number; readonly splits: number }
  readonly #buffers: GPUBuffer[]

  constructor(private readonly gpu: GpuDevice) {
    this.#job = gpu.fallback ? SOFTWARE_JOB : JOB
    const { rows, keys, splits } = this.#job
    const values =
      (count: number) =>
      (mapped: ArrayBuffer): void => {
        new Float32Array(mapped).forEach((_, at, all) => (all[at] = at < count ? ((at * 7919) % 1024) / 512 - 1 : 0))
      }
    const vectors = (count: number): GPUBuffer => gpu.upload('measure', count * QUADS * 16, values(count * QUADS * 4))
    const params = gpu.upload(
      'measure',
      scoreParams.byteLength,
      (mapped) => writeParams(mapped, rows, keys, splits),
      USAGE.uniform,
    )
    this.#buffers = [
      params,
      vectors(rows),
      vectors(keys),
      vectors(keys),
      gpu.storage('measure', splits * rows * QUADS * 16),
      gpu.storage('measure', splits * rows * 32),
    ]
  }

  refusal(tile: TileName): string | undefined {
    const offered = offeredTile(tile, this.gpu, this.#shape())
    return typeof offered === 'string' ? offered : undefined
  }

  /** Milliseconds of `repeats` jobs in one submit. */
  async run(tile: TileName, repeats: number): Promise<number> {
    const encoder = this.gpu.device.createCommandEncoder({ label: 'heddle.measure' })
    for (let repeat = 0; repeat < repeats; repeat++) await this.#encode(encoder, tile)
    const startMs = performance.now()
    this.gpu.device.queue.submit([encoder.finish()])
    await this.gpu.race(this.gpu.device.queue.onSubmittedWorkDone())
    return performance.now() - startMs
  }

  /** The first 64 rows of the first split. */
  async partials(tile: TileName): Promise<Float32Array> {
    const bytes = 64 * QUADS * 16
    const staging = this.gpu.staging('measure', bytes)
    try {
      return await this.gpu.guarded('measure', async () => {
        const encoder = this.gpu.device.createCommandEncoder({ label: 'heddle.measure' })
        await this.#encode(encoder, tile)
        encoder.copyBufferToBuffer(this.#buffers[4] as GPUBuffer, 0, staging, 0, bytes)
        this.gpu.device.queue.submit([encoder.finish()])
        await this.gpu.race(staging.mapAsync(MAP_READ))
        return new Float32Array(staging.getMappedRange().slice(0))
      })
    } finally {
      this.gpu.free(staging)
    }
  }

  dispose(): void {
    this.gpu.free(...this.#buffers)
  }

  async #encode(encoder: GPUCommandEncoder, name: TileName): Promise<void> {
    const tile = offeredTile(name, this.gpu, this.#shape())
    if (typeof tile === 'string') throw new RangeError(tile)
    const pipeline = await this.gpu.pipeline(
      attentionPartialKernel({ ...this.#shape(), tile, dropout: false, statistics: false, halfValues: false }),
    )
    const bound = [0, 1, 2, 6, 7, 8]
    const entries = this.#buffers.map((buffer, at) => ({ binding: bound[at] as number, resource: { buffer } }))
    const pass = encoder.beginComputePass({ label: 'heddle.measure' })
    pass.setPipeline(pipeline)
    pass.setBindGroup(0, this.gpu.device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }))
    pass.dispatchWorkgroups(Math.ceil(this.#job.rows / tileRows(tile)), this.#job.splits)
    pass.end()
  }

  #shape() {
    const score = {
      headQuads: QUADS,
      mask: false,
      bias: false,
      segments: false,
      softcap: false,
      alibi: false,
      halfKeys: false,
    }
    return { score, valueQuads: QUADS }
  }
}

/** Every row over every key. */
function writeParams(mapped: ArrayBuffer, rows: number, keys: number, splits: number): void {
  scoreParams.write(mapped, {
    rows,
    passStart: 0,
    passEnd: keys,
    splitKeys: keys / splits,
    slot: 0,
    keyMin: 0,
    keyMax: keys,
    lowFirst: -(2 ** 30),
    highFirst: 2 ** 30,
    distanceFirst: 0,
    distanceBase: 0,
    scale: 0.125,
    softcap: 0,
    slope: 0,
    maskStride: 0,
    biasStride: 0,
    firstRow: 0,
    segmentStart: 0,
    batchHead: 0,
    seedLow: 0,
    seedHigh: 0,
    threshold: 0,
    keepScale: 1,
  })
}
