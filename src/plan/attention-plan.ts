import { ceilDivide, roundUp } from '../core/integers.ts'
import { sumOfBytes, type BytesByPurpose } from '../core/ledger.ts'
import { attentionArenaRows } from './arena.ts'
import { attentionFlops, scoreCount } from './attention-sizes.ts'
import type { AttentionPlan, PlanRequest } from './attention-request.ts'
import { chooseCandidate, type ChosenBytes } from './choose-candidate.ts'
import { defaultChunkRows, gpuChunkRows, SMALLEST_TASK_FLOPS } from './chunk-rows.ts'
import { explainPlan } from './explain.ts'
import { matchKept } from './kept-buffers.ts'
import { ASSUMED_GPU, GPU_OVERLAP, gpuBlockSizes } from './gpu-memory.ts'
import { gpuAllowance, laneBytes, mayRunBeside, withoutBeside, type LaneDemand } from './lane-bytes.ts'

/** @throws {MemoryBudgetError} when no chunk size and no number of lanes fits; says which budget would do */
export function planAttention(request: PlanRequest): AttentionPlan {
  const { budgetBytes, budgetSource, mode } = request
  const keptBytes = matchKept(scratchNeeds(request), request.kept ?? []).leftBytes
  const advice = mode === 'standard' ? STANDARD_ADVICE : ''
  return finishPlan(
    request,
    chooseCandidate(candidates(request), {
      what: 'attention',
      budgetBytes,
      budgetSource,
      keptBytes,
      results: ['output'],
      advice,
    }),
  )
}

/** As many messages of small heads for each lane, so that a slow lane does not hold up the end. */
const MESSAGES_PER_LANE = 8
/** About 2 ms of one lane: beside that, what a message costs does not show. */
const ROOMY_FLOPS = 6e7

const STANDARD_ADVICE =
  '; the score matrix grows with n²: ask for some rows with returnWeights: { heads, rows }, which chunked mode gives at any n'

/**
 * Bytes of each array that the call makes for itself in shared memory and later calls use again: copies of plain
 * inputs.
 */
export function scratchNeeds({ transport, inputs }: Pick<PlanRequest, 'transport' | 'inputs'>): number[] {
  return transport === 'shared'
    ? inputs.filter((input) => !input.shared && input.bytes > 0).map((input) => input.bytes)
    : []
}

interface Candidate extends Pick<
  AttentionPlan,
  | 'chunkRows'
  | 'keySplits'
  | 'tasks'
  | 'tasksPerMessage'
  | 'depth'
  | 'lanes'
  | 'mayRunBeside'
  | 'device'
  | 'bytes'
  | 'budgetedBytes'
> {}

/** From the fastest to the smallest: those of `candidatesOn`, then the same on the first bench of each lane alone. */
function* candidates(request: PlanRequest): Generator<Candidate> {
  yield* candidatesOn(request)
  if (mayRunBeside(request.lanes)) yield* candidatesOn({ ...request, lanes: withoutBeside(request.lanes) })
}

/** First messages of few heads, then lean GPU lanes, then fewer rows per chunk, then fewer lanes. */
function* candidatesOn(request: PlanRequest): Generator<Candidate> {
  const { sizes, chunkSize } = request
  const hasGpu = request.lanes.some(({ kind }) => kind === 'webgpu')
  const flopsPerRow =
    attentionFlops(request.sizes, request.visibility) / Math.max(1, sizes.batch * sizes.heads * sizes.queries)
  for (let lanes = request.lanes.length; lanes >= 1; lanes = Math.floor(lanes / 2)) {
    let chunkRows =
      chunkSize === undefined
        ? automaticRows(request, lanes, flopsPerRow)
        : Math.max(1, Math.min(chunkSize, sizes.queries))
    if (!hasGpu) yield candidateOf(request, { chunkRows, lanes, flopsPerRow, lean: false, roomy: true })
    for (;;) {
      yield candidateOf(request, { chunkRows, lanes, flopsPerRow, lean: false, roomy: false })
      if (hasGpu) yield candidateOf(request, { chunkRows, lanes, flopsPerRow, lean: true, roomy: false })
      if (chunkSize !== undefined || chunkRows <= 8) break
      chunkRows = Math.max(8, Math.floor(chunkRows / 2))
    }
  }
}

/** How a call could be cut. */
interface Cut {
  readonly chunkRows: number
  readonly lanes: number
  readonly flopsPerRow: number
  /** GPU lanes with as little memory as will do */
  readonly lean: boolean
  /** whether a message may hold more heads than make it worth while */
  readonly roomy: boolean
}

/**
 * Rows of a chunk where none were asked for: what one pass of the arena takes, or of a block where all lanes are GPUs.
 */
function automaticRows({ sizes, lanes: all }: PlanRequest, lanes: number, flopsPerRow: number): number {
  const { batch, heads, queries, headSize, valueSize } = sizes
  if (!all.every(({ kind }) => kind === 'webgpu'))
    return Math.min(
      defaultChunkRows(batch * heads, queries, flopsPerRow, lanes),
      attentionArenaRows(headSize, valueSize),
    )
  const facts = all.map((lane) => lane.facts ?? ASSUMED_GPU)
  const rows = gpuChunkRows(
    batch * heads,
    queries,
    flopsPerRow,
    lanes,
    facts.some(({ software }) => software),
  )
  return Math.min(...facts.map((device) => gpuBlockSizes(device, { ...sizes, rows }).rows))
}

/** Messages that wait or run at one lane at once. A GPU lane has two tasks on its device and one that waits. */
function depthOf({ lanes: all, transport }: PlanRequest, messages: number, lanes: number, lean: boolean): number {
  if (lean || transport === 'transfer') return 1
  if (all.every(({ kind }) => kind === 'webgpu'))
    return Math.max(1, Math.min(GPU_OVERLAP + 1, Math.floor((messages + 1) / lanes) - 1))
  return transport === 'shared' && messages >= 4 * lanes ? 2 : 1
}

function candidateOf(request: PlanRequest, cut: Cut): Candidate {
  const { sizes, keySplits } = request
  const { chunkRows, lanes, lean } = cut
  const tasks = sizes.batch * sizes.heads * ceilDivide(sizes.queries, chunkRows) * keySplits
  const tasksPerMessage = messageTasks(request, tasks, cut)
  const messages = ceilDivide(tasks, tasksPerMessage)
  const depth = depthOf(request, messages, lanes, lean)
  const demand = laneDemand(request, cut, { depth, messages })
  const device = gpuAllowance(request.lanes, demand, lean)
  const bytes: BytesByPurpose = {
    ...callBytes(request),
    'lane arenas': laneBytes(request.lanes, demand, device),
    'in flight':
      keySplits > 1 ? 0 : largestStaging(request, chunkRows, Math.min(tasks, lanes * depth * tasksPerMessage)),
    'head copies': headCopyBytes(request, Math.min(lanes, tasks)),
  }
  return {
    chunkRows,
    keySplits,
    tasks,
    tasksPerMessage,
    depth,
    lanes,
    mayRunBeside: mayRunBeside(request.lanes),
    device,
    bytes,
    budgetedBytes: sumOfBytes(bytes) - (bytes['output'] ?? 0),
  }
}

function laneDemand(
  { sizes, transport, mode, selection, scoreInputs }: PlanRequest,
  { chunkRows, lanes }: Cut,
  { depth, messages }: { readonly depth: number; readonly messages: number },
): LaneDemand {
  return {
    ...scoreInputs,
    sizes,
    chunkRows,
    cachedHeads: transport === 'transfer' ? 1 : sizes.batch * sizes.keyValueHeads,
    overlap: Math.min(GPU_OVERLAP, depth),
    weightRows: mode === 'standard' ? chunkRows : Math.min(chunkRows, selection?.rows.length ?? 0),
    lanes: Math.min(lanes, messages),
  }
}

/** What the call holds however it is cut. */
function callBytes({ sizes, transport, keySplits, inputs, results, fixedBytes, lanes }: PlanRequest): BytesByPurpose {
  const owned = results.filter(({ owned }) => owned)
  const copied = inputs.filter((input) => transport === 'shared' && !input.shared)
  return {
    ...Object.fromEntries(owned.map(({ purpose, rowBytes, rows }) => [purpose, rowBytes * rows])),
    ...fixedBytes,
    partials:
      keySplits > 1 ? sizes.batch * sizes.heads * sizes.queries * keySplits * partialRowBytes(sizes.valueSize) : 0,
    'input copies': copied.reduce((total, input) => total + input.bytes, 0),
    'lane copies': lanes.reduce((total, lane) => total + (lane.lastingBytes ?? 0), 0),
  }
}

/** Without shared memory each lane at work has a copy of one head's keys. */
function headCopyBytes({ transport, inputs }: PlanRequest, lanes: number): number {
  return transport === 'transfer' ? lanes * inputs.reduce((total, input) => total + input.headBytes, 0) : 0
}

/**
 * Tasks that travel together: as many as are worth a message, or, with room for it, as many as leave every lane enough
 * messages; of one query row, whole groups of heads, which a lane joins.
 */
function messageTasks({ sizes, transport, keySplits }: PlanRequest, tasks: number, cut: Cut): number {
  const { chunkRows, lanes, flopsPerRow, roomy } = cut
  const taskFlops = Math.max(1, (flopsPerRow * chunkRows) / Math.max(1, keySplits))
  const group = sizes.queries === 1 ? Math.max(1, sizes.heads / Math.max(1, sizes.keyValueHeads)) : 1
  // Without shared memory a message carries its heads' copies: few tasks at a time keep them few.
  const worthwhile = transport === 'transfer' ? 1 : Math.floor(SMALLEST_TASK_FLOPS / taskFlops)
  const whole = transport !== 'transfer' && chunkRows >= sizes.queries && keySplits === 1
  const shared = roomy && whole ? Math.min(ceilDivide(tasks, MESSAGES_PER_LANE * lanes), ROOMY_FLOPS / taskFlops) : 1
  return Math.max(1, Math.min(tasks, roundUp(Math.floor(Math.max(1, worthwhile, shared)), group)))
}

/** A row of a partial: Dv values and a log-sum-exp. All partials of a call are held until they merge. */
export function partialRowBytes(valueSize: number): number {
  return (valueSize + 1) * 4
}

/** The bytes that travel with the `count` largest tasks. */
function largestStaging(request: PlanRequest, chunkRows: number, count: number): number {
  const { sizes, selection } = request
  const rowBytes = stagingRowBytes(request)
  const heads = sizes.batch * sizes.heads
  const selectedHeads = selection === null ? 0 : sizes.batch * selection.heads
  const kinds = chunkKinds(sizes.queries, chunkRows, selection?.rows ?? []).flatMap(({ rows, selected, chunks }) => [
    { bytes: rows * rowBytes + selected * sizes.keys * 4, tasks: chunks * selectedHeads },
    { bytes: rows * rowBytes, tasks: chunks * (heads - selectedHeads) },
  ])
  let left = count
  let total = 0
  for (const kind of kinds.sort((a, b) => b.bytes - a.bytes)) {
    const taken = Math.min(left, kind.tasks)
    total += taken * kind.bytes
    left -= taken
  }
  return total
}

/** Bytes that a task's message and its answer carry for each query row. */
export function stagingRowBytes({
  transport,
  inputs,
  results,
}: Pick<PlanRequest, 'transport' | 'inputs' | 'results'>): number {
  const back = results.reduce((total, result) => total + (result.direct ? 0 : result.rowBytes), 0)
  return back + (transport === 'transfer' ? inputs.reduce((total, input) => total + input.rowBytes, 0) : 0)
}

function chunkKinds(
  queries: number,
  chunkRows: number,
  selectedRows: readonly number[],
): { rows: number; selected: number; chunks: number }[] {
  const counts = new Map<number, number>()
  for (const row of selectedRows)
    counts.set(Math.floor(row / chunkRows), (counts.get(Math.floor(row / chunkRows)) ?? 0) + 1)
  const full = Math.floor(queries / chunkRows)
  const rest = queries - full * chunkRows
  const kinds = [...counts].map(([chunk, selected]) => ({ rows: chunk < full ? chunkRows : rest, selected, chunks: 1 }))
  const fullUnselected = full - [...counts.keys()].filter((chunk) => chunk < full).length
  return [
    ...kinds,
    { rows: chunkRows, selected: 0, chunks: fullUnselected },
    { rows: rest, selected: 0, chunks: rest > 0 && !counts.has(full) ? 1 : 0 },
  ]
}

function finishPlan(request: PlanRequest, candidate: Candidate & ChosenBytes): AttentionPlan {
  const plan = {
    ...candidate,
    mode: request.mode,
    sizes: request.sizes,
    transport: request.transport,
    laneKinds: request.lanes.slice(0, candidate.lanes).map((lane) => lane.kind),
    flops: attentionFlops(request.sizes, request.visibility),
    budgetBytes: request.budgetBytes,
    standardBytes: scoreCount(request.sizes) * 4,
  }
  return { ...plan, explain: () => explainPlan(plan) }
}
