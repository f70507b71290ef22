import { MemoryBudgetError } from '../core/errors.ts'
import { roundUp } from '../core/integers.ts'
import { sumOfBytes } from '../core/ledger.ts'
import { scoreCount, visiblePairs, type Visibility } from './attention-sizes.ts'
import { backwardArenaBytes } from './backward-arena.ts'
import { SMALLEST_TASK_FLOPS } from './chunk-rows.ts'
import { explainSegmentPlan } from './explain.ts'
import { affordableKept, matchKept } from './kept-buffers.ts'
import { keySegmentCount, keySegments } from './key-segments.ts'
import type { SegmentPlan, SegmentPlanRequest } from './segment-call.ts'

/** What a message should be worth where tasks are small: some 4 ms of one lane, so that the way there and back is lost in it. */
const MESSAGE_FLOPS = 2e8
/** Messages per lane, at least, before tasks go together: a slow lane must not hold up the end. */
const MESSAGES_PER_LANE = 4

interface Candidate extends Pick<SegmentPlan, 'tasksPerMessage' | 'lanes' | 'slots' | 'keyBytes' | 'bytes' | 'budgetedBytes'> {}

/** @throws {MemoryBudgetError} when no number of lanes fits; says which budget would do */
export function planSegments(request: SegmentPlanRequest): SegmentPlan {
  const needs = segmentScratchNeeds(request)
  const keptBytes = matchKept(needs, request.kept ?? []).leftBytes
  const facts = taskFacts(request)
  let smallest: Candidate | undefined
  for (const candidate of candidates(request, facts)) {
    const affordable = affordableKept(candidate, keptBytes, request.budgetBytes)
    if (affordable !== undefined) return finishPlan(request, facts, affordable)
    if (smallest === undefined || candidate.budgetedBytes < smallest.budgetedBytes) smallest = candidate
  }
  throw overBudget(request, smallest)
}

/** Bytes of each array that the call makes for itself in shared memory and later calls use again: copies of plain inputs. */
export function segmentScratchNeeds({ transport, inputs }: Pick<SegmentPlanRequest, 'transport' | 'inputs'>): number[] {
  return transport === 'shared' ? inputs.filter((input) => !input.shared && input.bytes > 0).map((input) => input.bytes) : []
}

/** Multiply-adds of the visible pairs, each counted as two operations. */
export function segmentFlops({ sizes, visibility, flopsPerPair }: Pick<SegmentPlanRequest, 'sizes' | 'visibility' | 'flopsPerPair'>): number {
  const alike = isAlike(visibility)
  let pairs = 0
  for (let b = 0; b < (alike ? Math.min(1, sizes.batch) : sizes.batch); b++) pairs += visiblePairs(0, sizes.queries, b, visibility) * sizes.heads
  return pairs * (alike ? sizes.batch : 1) * flopsPerPair
}

interface TaskFacts {
  readonly segments: number
  readonly tasks: number
  readonly flops: number
  /** keys of each segment, longest first, with how many tasks have so many */
  readonly lengths: readonly { readonly keys: number; readonly tasks: number }[]
}

function taskFacts(request: SegmentPlanRequest): TaskFacts {
  const { sizes, visibility, taskHeads } = request
  const { batch, keys, queries } = sizes
  const cut = { ...sizes, taskHeads: batch * taskHeads }
  const segments = Math.min(keySegmentCount(cut), Math.max(1, keys))
  const alike = isAlike(visibility)
  const empty = batch * taskHeads === 0 || keys === 0 || queries === 0
  const lengths = Array.from({ length: empty ? 0 : alike ? 1 : batch }, (_, b) =>
    keySegments(cut, visibility, b).map(({ keyStart, keyEnd }) => ({ keys: keyEnd - keyStart, tasks: taskHeads * (alike ? batch : 1) })),
  ).flat()
  const tasks = lengths.reduce((sum, each) => sum + each.tasks, 0)
  return { segments, tasks, flops: segmentFlops(request), lengths: lengths.sort((a, b) => b.keys - a.keys) }
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
function tasksPerMessage({ transport }: SegmentPlanRequest, { tasks, segments, flops }: TaskFacts, lanes: number): number {
  const taskFlops = Math.max(1, flops / Math.max(1, tasks))
  if (transport === 'transfer' || tasks === 0) return 1
  const most = Math.max(Math.floor(SMALLEST_TASK_FLOPS / taskFlops), Math.floor(tasks / (MESSAGES_PER_LANE * lanes)))
  const wanted = Math.min(most, Math.ceil(MESSAGE_FLOPS / taskFlops))
  return wanted <= 1 ? 1 : Math.min(tasks, roundUp(wanted, segments))
}

function candidateOf(request: SegmentPlanRequest, facts: TaskFacts, lanes: number, together: number): Candidate {
  const { sizes, transport, slotBytes } = request
  const atWork = Math.min(facts.tasks, lanes * together)
  const waiting = together > 1 ? 0 : (Math.min(lanes, facts.tasks) - 1) * (facts.segments - 1)
  const slots = slotBytes === 0 ? 0 : Math.min(facts.tasks, atWork + Math.max(0, waiting)) + (request.slicedSlots && facts.tasks > 0 ? 1 : 0)
  const arena = backwardArenaBytes(sizes.headSize, sizes.valueSize)
  const keyBytes = request.returnedKeyBytes + (transport === 'transfer' ? request.inputs.reduce((sum, input) => sum + input.keyBytes, 0) : 0)
  const headBytes = request.inputs.reduce((sum, input) => sum + input.headBytes, 0)
  const copied = request.inputs.filter((input) => transport === 'shared' && !input.shared)
  const bytes: Record<string, number> = {
    ...request.results,
    ...request.fixedBytes,
    'gradient slots': slots * slotBytes,
    'input copies': copied.reduce((sum, input) => sum + input.bytes, 0),
    // A GPU lane makes an arena beside its device for these tasks.
    'lane arenas': request.lanes.reduce((sum, lane) => sum + (lane.kind === 'wasm' ? Math.max(lane.residentBytes, arena) : lane.residentBytes + arena), 0),
    'lane copies': request.lanes.reduce((sum, lane) => sum + (lane.lastingBytes ?? 0), 0),
    'in flight': longestKeys(facts, atWork) * keyBytes,
    'head copies': transport === 'transfer' ? Math.min(lanes, facts.tasks) * headBytes : 0,
  }
  return { tasksPerMessage: together, lanes, slots, keyBytes, bytes, budgetedBytes: sumOfBytes(bytes) - sumOfBytes(request.results) }
}

/** Keys of the `count` longest segments together. */
function longestKeys({ lengths }: TaskFacts, count: number): number {
  let left = count
  let total = 0
  for (const { keys, tasks } of lengths) {
    const taken = Math.min(left, tasks)
    total += taken * keys
    left -= taken
  }
  return total
}

function finishPlan(request: SegmentPlanRequest, { segments, tasks, flops }: TaskFacts, candidate: Candidate & Pick<SegmentPlan, 'bytes'>): SegmentPlan {
  const bytes = Object.fromEntries(Object.entries(candidate.bytes).filter(([, count]) => count > 0))
  const plan = {
    ...candidate,
    call: request.call,
    sizes: request.sizes,
    transport: request.transport,
    keySegments: segments,
    tasks,
    depth: 1,
    laneKinds: request.lanes.slice(0, candidate.lanes).map((lane) => lane.kind),
    flops,
    bytes,
    totalBytes: sumOfBytes(bytes),
    budgetBytes: request.budgetBytes,
    standardBytes: scoreCount(request.sizes) * 4,
  }
  return { ...plan, explain: () => explainSegmentPlan(plan) }
}

function overBudget({ call, budgetSource, budgetBytes, results }: SegmentPlanRequest, smallest: Candidate | undefined): MemoryBudgetError {
  const needed = smallest?.budgetedBytes ?? 0
  const counted = Object.entries(smallest?.bytes ?? {}).filter(([purpose, count]) => count > 0 && !(purpose in results))
  const list = counted.map(([purpose, count]) => `${purpose} ${count}`).join(', ')
  return new MemoryBudgetError(`${call}: expected ${budgetSource} of at least ${needed} bytes (${list}), got ${budgetBytes}`, {
    details: { smallestBudgetBytes: needed, budgetBytes, bytes: smallest?.bytes },
  })
}
