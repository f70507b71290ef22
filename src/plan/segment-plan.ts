import { roundUp } from '../core/integers.ts'
import { sumOfBytes, type BytesByPurpose, type Purpose } from '../core/ledger.ts'
import { scoreCount, visiblePairs, type Visibility } from './attention-sizes.ts'
import { backwardArenaBytes } from './backward-arena.ts'
import { chooseCandidate, type ChosenBytes } from './choose-candidate.ts'
import { SMALLEST_TASK_FLOPS } from './chunk-rows.ts'
import { explainSegmentPlan } from './explain.ts'
import { matchKept } from './kept-buffers.ts'
import { keySegmentCount, keySegments } from './key-segments.ts'
import { wasmLaneBytes } from './lane-bytes.ts'
import type { SegmentPlan, SegmentPlanRequest } from './segment-call.ts'

/**
 * What a message should be worth where tasks are small: some 4 ms of one lane, so that the way there and back is lost
 * in it.
 */
const MESSAGE_FLOPS = 2e8
/** Messages per lane, at least, before tasks go together: a slow lane must not hold up the end. */
const MESSAGES_PER_LANE = 4

interface Candidate extends Pick<
  SegmentPlan,
  'tasksPerMessage' | 'lanes' | 'slots' | 'keyBytes' | 'bytes' | 'budgetedBytes'
> {}

/** @throws {MemoryBudgetError} when no number of lanes fits; says which budget would do */
export function planSegments(request: SegmentPlanRequest): SegmentPlan {
  const needs = segmentScratchNeeds(request)
  const keptBytes = matchKept(needs, request.kept ?? []).leftBytes
  const facts = taskFacts(request)
  const { call, budgetBytes, budgetSource } = request
  const results = Object.keys(request.results) as Purpose[]
  return finishPlan(
    request,
    facts,
    chooseCandidate(candidates(request, facts), { what: call, budgetBytes, budgetSource, keptBytes, results }),
  )
}

/**
 * Bytes of each array that the call makes for itself in shared memory and later calls use again: copies of plain
 * inputs.
 */
export function segmentScratchNeeds({ transport, inputs }: Pick<SegmentPlanRequest, 'transport' | 'inputs'>): number[] {
  return transport === 'shared'
    ? inputs.filter((input) => !input.shared && input.bytes > 0).map((input) => input.bytes)
    : []
}

/** Multiply-adds of the visible pairs, each counted as two operations. */
function segmentFlops({ sizes, visibility, flopsPerPair, sharedBias }: SegmentPlanRequest): number {
  const alike = isAlike(visibility)
  let pairs = 0
  for (let b = 0; b < (alike ? Math.min(1, sizes.batch) : sizes.batch); b++)
    pairs += visiblePairs(0, sizes.queries, b, visibility) * sizes.heads
  return pairs * (alike ? sizes.batch : 1) * (flopsPerPair + (sharedBias?.flopsPerPair ?? 0))
}

interface TaskFacts {
  readonly segments: number
  /** of the gradients; those of a shared bias are `biasTasks` */
  readonly tasks: number
  readonly biasTasks: number
  readonly flops: number
  readonly keyBytes: number
  /** bytes of the tasks' messages, largest first */
  readonly kinds: readonly TaskKind[]
}

/** Tasks whose messages have so many bytes. */
interface TaskKind {
  readonly bytes: number
  readonly tasks: number
}

function taskFacts(request: SegmentPlanRequest): TaskFacts {
  const { sizes, taskHeads, sharedBias, transport, inputs } = request
  const segments = Math.min(
    keySegmentCount({ keys: sizes.keys, taskHeads: sizes.batch * taskHeads }),
    Math.max(1, sizes.keys),
  )
  const keyBytes =
    request.returnedKeyBytes + (transport === 'transfer' ? inputs.reduce((sum, input) => sum + input.keyBytes, 0) : 0)
  const gradients = taskKinds(request, taskHeads, sizes.batch, (keys) => keys * keyBytes)
  const bias =
    sharedBias === null
      ? []
      : taskKinds(request, sharedBias.taskHeads, 1, (keys) => keys * sharedBias.keyBytes + sharedBias.taskBytes)
  return {
    segments,
    tasks: countOf(gradients),
    biasTasks: countOf(bias),
    flops: segmentFlops(request),
    keyBytes,
    kinds: [...gradients, ...bias].sort((a, b) => b.bytes - a.bytes),
  }
}

/** Tasks of `heads` heads of each of `batch` batches, by the keys of their segments. */
function taskKinds(
  { sizes, visibility }: SegmentPlanRequest,
  heads: number,
  batch: number,
  bytesOf: (keys: number) => number,
): TaskKind[] {
  const alike = isAlike(visibility)
  const empty = sizes.batch * sizes.heads * heads === 0 || sizes.keys === 0 || sizes.queries === 0
  return Array.from({ length: empty ? 0 : alike ? 1 : batch }, (_, b) =>
    keySegments({ ...sizes, taskHeads: batch * heads }, visibility, b).map(({ keyStart, keyEnd }) => ({
      bytes: bytesOf(keyEnd - keyStart),
      tasks: heads * (alike ? batch : 1),
    })),
  ).flat()
}

function countOf(kinds: readonly TaskKind[]): number {
  return kinds.reduce((sum, { tasks }) => sum + tasks, 0)
}

function isAlike({ queryOffset, keyLength }: Visibility): boolean {
  return queryOffset.length <= 1 && keyLength.length <= 1
}

/** From the fastest to the smallest: fewer tasks per message, then fewer lanes. */
function* candidates(request: SegmentPlanRequest, facts: TaskFacts): Generator<Candidate> {
  for (let lanes = request.lanes.length; lanes >= 1; lanes = Math.floor(lanes / 2)) {
    const together = tasksPerMessage(request, facts, lanes)
    if (together > 1) yield candidateOf(request, facts, lanes, together)
    yield candidateOf(request, facts, lanes, 1)
  }
}

/** Whole heads, so that no slot waits for another message. */
function tasksPerMessage(
  { transport }: SegmentPlanRequest,
  { tasks, biasTasks, segments, flops }: TaskFacts,
  lanes: number,
): number {
  const all = tasks + biasTasks
  if (transport === 'transfer' || all === 0) return 1
  const taskFlops = Math.max(1, flops / all)
  const most = Math.max(Math.floor(SMALLEST_TASK_FLOPS / taskFlops), Math.floor(all / (MESSAGES_PER_LANE * lanes)))
  const wanted = Math.min(most, Math.ceil(MESSAGE_FLOPS / taskFlops))
  return wanted <= 1 ? 1 : Math.min(all, roundUp(wanted, segments))
}

function candidateOf(request: SegmentPlanRequest, facts: TaskFacts, lanes: number, together: number): Candidate {
  const { sizes, transport, slotBytes, inputs } = request
  const all = facts.tasks + facts.biasTasks
  const atWork = Math.min(all, lanes * together)
  const slots = slotBytes === 0 ? 0 : slotCount(request, facts, lanes, together)
  const arena = backwardArenaBytes(sizes.headSize, sizes.valueSize)
  const copied = inputs.filter((input) => transport === 'shared' && !input.shared)
  const bytes: BytesByPurpose = {
    ...request.results,
    ...request.fixedBytes,
    'gradient slots': slots * slotBytes,
    'input copies': copied.reduce((sum, input) => sum + input.bytes, 0),
    // A GPU lane makes an arena beside its device for these tasks.
    'lane arenas': request.lanes.reduce(
      (sum, lane) =>
        sum + (lane.kind === 'wasm' ? wasmLaneBytes(lane, { attention: arena }) : lane.residentBytes + arena),
      0,
    ),
    'lane copies': request.lanes.reduce((sum, lane) => sum + (lane.lastingBytes ?? 0), 0),
    'in flight': largestBytes(facts.kinds, atWork),
    'head copies':
      transport === 'transfer'
        ? Math.min(lanes, facts.tasks) * inputs.reduce((sum, input) => sum + input.headBytes, 0)
        : 0,
  }
  return {
    tasksPerMessage: together,
    lanes,
    slots,
    keyBytes: facts.keyBytes,
    bytes,
    budgetedBytes: sumOfBytes(bytes) - sumOfBytes(request.results),
  }
}

/** Slots of tasks at work, of those that wait for an earlier segment of their head, and of one that is being added. */
function slotCount(
  { slicedSlots }: SegmentPlanRequest,
  { tasks, segments }: TaskFacts,
  lanes: number,
  together: number,
): number {
  if (tasks === 0) return 0
  const atWork = Math.min(tasks, lanes * together)
  const waiting = together > 1 ? 0 : (Math.min(lanes, tasks) - 1) * (segments - 1)
  return Math.min(tasks, atWork + waiting) + (slicedSlots ? 1 : 0)
}

/** Bytes of the `count` largest messages' tasks together. */
function largestBytes(kinds: readonly TaskKind[], count: number): number {
  let left = count
  let total = 0
  for (const { bytes, tasks } of kinds) {
    const taken = Math.min(left, tasks)
    total += taken * bytes
    left -= taken
  }
  return total
}

function finishPlan(
  request: SegmentPlanRequest,
  { segments, tasks, biasTasks, flops }: TaskFacts,
  candidate: Candidate & ChosenBytes,
): SegmentPlan {
  const plan = {
    ...candidate,
    call: request.call,
    sizes: request.sizes,
    transport: request.transport,
    keySegments: segments,
    tasks: tasks + biasTasks,
    biasTasks,
    sharedBias: request.sharedBias,
    depth: 1,
    laneKinds: request.lanes.slice(0, candidate.lanes).map((lane) => lane.kind),
    flops,
    budgetBytes: request.budgetBytes,
    standardBytes: scoreCount(request.sizes) * 4,
  }
  return { ...plan, explain: () => explainSegmentPlan(plan) }
}
