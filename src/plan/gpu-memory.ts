import { ceilDivide, roundUp } from '../core/integers.ts'

/**
 * What a GPU lane holds on its device, by arithmetic: the backend makes its buffers by these rules, and the plan adds
 * them up.
 */

/** What must be known of a lane's device to plan for it. */
export interface GpuFacts {
  /** the largest buffer that can be bound whole */
  readonly largestBufferBytes: number
  readonly workgroupsPerDimension: number
  /** a software adapter, which gains nothing from more workgroups than it has threads */
  readonly software: boolean
  /** keys and values are stored as float16 */
  readonly half: boolean
}

/** What every WebGPU device gives, for lanes that have not started yet. */
export const ASSUMED_GPU: GpuFacts = {
  largestBufferBytes: 128 * 2 ** 20,
  workgroupsPerDimension: 65_535,
  software: false,
  half: false,
}

/** Keys of a workgroup's score tile, and query rows of the smallest one. */
export const GPU_TILE = 32
/** Value columns, in vectors of four, that one workgroup accumulates; a wider value is split over workgroups. */
export const GPU_SLICE_QUADS = 64
/** Device bytes that keys and values may take, at most. */
export const GPU_CACHE_BYTES = 512 * 2 ** 20
/** Tasks that a lane has on the device at once: one computes while the other's results are read back. */
export const GPU_OVERLAP = 2
/** Per-row results that stand beside the output: log-sum-exp and four statistics. */
const ROW_RESULTS = 5

/** Device memory that a block's partials, and a pass's mask, bias or weights, may take each. */
const WORKING_BYTES = 32 * 2 ** 20
/** Workgroups that keep a GPU busy; a software adapter gains nothing from more than its threads. */
const BUSY_GROUPS = 1024
const BUSY_GROUPS_SOFTWARE = 8
/** A split shorter than this costs more in its partial than it gains. */
const SHORTEST_SPLIT = 8 * GPU_TILE
const MOST_SLOTS = 64
/** Partials that a block keeps where its passes are not split: so many passes before they merge. */
const FEWEST_SLOTS = 4
/**
 * A block's smallest pass is one tile of keys: it holds so many multiply-adds at most, a few milliseconds of any
 * device.
 */
const SMALLEST_PASS_MULTIPLY_ADDS = 5e7
/** A buffer larger than this is split although the device would take it: an upload must not hold the lane for long. */
const LARGEST_SEGMENT_BYTES = 64 * 2 ** 20
/** Uniforms of a pass, and those and the unused results of a merge on the way. */
export const GPU_UNIFORM_BYTES = { pass: 96, merge: 16, unused: 32 } as const

/** Rows and keys of one head of a task. */
export interface GpuTaskSizes {
  readonly rows: number
  readonly keys: number
  readonly headSize: number
  readonly valueSize: number
}

/** How much of a task is on the device at a time, so that no buffer passes the device's limits. */
export interface GpuBlockSizes {
  /** rows of a block */
  readonly rows: number
  /** partials that a block keeps before it merges them: 2 or more */
  readonly slots: number
  /** keys of a pass with a mask, a bias or weights out */
  readonly matrixKeys: number
  /** keys of a pass */
  readonly keys: number
}

/** What a plan grants a task on the device. */
export interface GpuAllowance {
  /** keys and values that stay, at most */
  readonly cacheBytes: number
  /** no split over the keys: the fewest partials */
  readonly lean: boolean
}

/** Bytes of a buffer: 16 at least, and a multiple of it. */
export function gpuBufferBytes(bytes: number): number {
  return Math.max(16, roundUp(Math.ceil(bytes), 16))
}

/** A row on the device: padded to vectors of four. */
export function gpuRowBytes(columns: number, half = false): number {
  return ceilDivide(columns, 4) * (half ? 8 : 16)
}

/**
 * Keys a segment of the cache: a multiple of the tile, so that no buffer passes the device's limits, as float32 either.
 */
export function gpuSegmentKeys(
  { largestBufferBytes }: Pick<GpuFacts, 'largestBufferBytes'>,
  columns: number,
  cacheBytes: number,
): number {
  // A pass needs a key and a value segment at once: each may take half of the room.
  const bytes = Math.min(largestBufferBytes, LARGEST_SEGMENT_BYTES, cacheBytes / 2)
  return Math.max(GPU_TILE, Math.floor(bytes / gpuRowBytes(columns) / GPU_TILE) * GPU_TILE)
}

export function gpuBlockSizes(
  facts: Omit<GpuFacts, 'half'>,
  { rows, keys, headSize, valueSize }: GpuTaskSizes,
  lean = false,
): GpuBlockSizes {
  const bytes = Math.min(WORKING_BYTES, facts.largestBufferBytes)
  const partialBytes = Math.max(gpuRowBytes(valueSize), 32)
  const timely = Math.max(GPU_TILE, SMALLEST_PASS_MULTIPLY_ADDS / (GPU_TILE * (headSize + valueSize)))
  const fitting = Math.min(
    rows,
    bytes / (FEWEST_SLOTS * partialBytes),
    bytes / gpuRowBytes(headSize),
    bytes / (GPU_TILE * 4),
    facts.workgroupsPerDimension * GPU_TILE,
    timely,
  )
  const blockRows = Math.max(1, Math.floor(fitting))
  const groups = ceilDivide(blockRows, GPU_TILE) * ceilDivide(ceilDivide(valueSize, 4), GPU_SLICE_QUADS)
  const splits = lean
    ? 1
    : Math.min(
        ceilDivide(facts.software ? BUSY_GROUPS_SOFTWARE : BUSY_GROUPS, groups),
        ceilDivide(Math.max(1, keys), SHORTEST_SPLIT),
      )
  const wanted = lean ? 2 : Math.max(FEWEST_SLOTS, splits + 1)
  return {
    rows: blockRows,
    slots: Math.max(2, Math.min(MOST_SLOTS, wanted, Math.floor(bytes / (blockRows * partialBytes)))),
    matrixKeys: Math.max(GPU_TILE, Math.floor(bytes / (blockRows * 4) / GPU_TILE) * GPU_TILE),
    keys: facts.workgroupsPerDimension * GPU_TILE,
  }
}

/**
 * Keys of a split of a pass over `groups` workgroups: enough splits to keep the device busy, as far as there are slots.
 */
export function gpuSplitKeys(
  { software }: Pick<GpuFacts, 'software'>,
  keys: number,
  groups: number,
  slots: number,
): number {
  const busy = software ? BUSY_GROUPS_SOFTWARE : BUSY_GROUPS
  const wanted = Math.max(1, Math.min(Math.ceil(busy / groups), Math.ceil(keys / SHORTEST_SPLIT), slots - 1))
  return roundUp(Math.ceil(keys / wanted), GPU_TILE)
}

/** The buffers that a block works in, by name: they are kept and used again by the next block. */
export function gpuScratchBytes({ rows, slots }: Pick<GpuBlockSizes, 'rows' | 'slots'>, valueSize: number) {
  const [output, rowResults] = [rows * gpuRowBytes(valueSize), rows * ROW_RESULTS * 4]
  return { partials: slots * output, rowStates: slots * rows * 32, output, rowResults, staging: output + rowResults }
}

/** What a call asks of a GPU lane. */
export interface GpuCall extends GpuTaskSizes {
  /** heads whose keys and values are on the device at once */
  readonly cachedHeads: number
  /** tasks on the device at once */
  readonly overlap: number
  /** of mask and bias: bytes an element, and whether each row has its own */
  readonly matrices: readonly { readonly elementBytes: number; readonly perRow: boolean }[]
  readonly segments: boolean
  /** rows of a task whose weights come back, at most */
  readonly weightRows: number
}

/** The cache that holds `heads` heads' keys and values whole; the bytes they take stand in `gpuCachedBytes`. */
export function gpuCacheBytes(facts: GpuFacts, { keys, headSize, valueSize }: GpuTaskSizes, heads: number): number {
  const widest = gpuRowBytes(Math.max(headSize, valueSize))
  return Math.min(
    GPU_CACHE_BYTES,
    Math.max(heads * headBytes(facts, { keys, headSize, valueSize }), 2 * roundUp(keys, GPU_TILE) * widest),
  )
}

function headBytes({ half }: GpuFacts, { keys, headSize, valueSize }: Omit<GpuTaskSizes, 'rows'>): number {
  return gpuBufferBytes(keys * gpuRowBytes(headSize, half)) + gpuBufferBytes(keys * gpuRowBytes(valueSize, half))
}

/**
 * Device bytes of an attention call at their peak: cached keys and values, the scratch and the query of each task that
 * is there at once, and one pass's uploads. Exact without mask, bias, segments and weights; with those a bound, because
 * a pass is as long as time allows.
 */
export function gpuAttentionBytes(facts: GpuFacts, call: GpuCall, { cacheBytes, lean }: GpuAllowance): number {
  if (call.rows === 0 || call.keys === 0) return 0
  const block = gpuBlockSizes(facts, call, lean)
  const scratch = Object.values(gpuScratchBytes(block, call.valueSize)).reduce(
    (sum, bytes) => sum + gpuBufferBytes(bytes),
    0,
  )
  const query = gpuBufferBytes(block.rows * gpuRowBytes(call.headSize))
  const cached = Math.min(cacheBytes, call.cachedHeads * headBytes(facts, call))
  const uniforms = gpuBufferBytes(GPU_UNIFORM_BYTES.pass) + GPU_UNIFORM_BYTES.merge + GPU_UNIFORM_BYTES.unused
  return cached + call.overlap * (scratch + query) + uniforms + matrixBytes(call, block) + weightBytes(call, block)
}

/** Mask, bias and segments of one pass, as they are uploaded. */
function matrixBytes({ keys, matrices, segments }: GpuCall, { rows, matrixKeys }: GpuBlockSizes): number {
  const passKeys = Math.min(roundUp(keys, 4), matrixKeys)
  const uploads = matrices.map(({ elementBytes, perRow }) => (perRow ? rows : 1) * passKeys * elementBytes)
  return [...uploads, ...(segments ? [(rows + keys) * 4] : [])].reduce((sum, bytes) => sum + gpuBufferBytes(bytes), 0)
}

/** Weights of a pass on the device, and of two passes on their way back; the chosen rows' queries and places. */
function weightBytes({ keys, headSize, weightRows }: GpuCall, { rows, matrixKeys }: GpuBlockSizes): number {
  if (weightRows === 0) return 0
  const count = Math.min(weightRows, rows)
  return (
    gpuBufferBytes(count * gpuRowBytes(headSize)) +
    gpuBufferBytes(count * 4) +
    3 * gpuBufferBytes(count * Math.min(roundUp(keys, 4), matrixKeys) * 4)
  )
}
