import { OptionError } from '../core/errors.ts'
import { checkNames } from '../core/check.ts'
import { describe } from '../core/tensor.ts'
import type { ProbedHead, ProbeRecord } from './probe.ts'
import type { MassName, Role } from './report.ts'

/** A step at which a record was made, and which heads have which role there. */
export interface StageRow {
  /** the training step of the record */
  readonly step: number
  /** of the probe's batch, in evaluation mode */
  readonly loss: number
  /** mean over all heads, in nats */
  readonly entropy: number
  /** heads as "layer.head", by role; roles that nobody has are left out */
  readonly roles: Readonly<Record<string, readonly string[]>>
}

/** A head that gains or loses a role between two records. */
export interface RoleChange {
  /** "layer.head" */
  readonly head: string
  /** name of the role: a score, or `relation: ` and the relation's name */
  readonly role: string
  /** whether the head has the role after the change, or had it before */
  readonly kind: 'gains' | 'loses'
  /** the last record before the change; null where the first record has the role already */
  readonly after: number | null
  /** the first record after it */
  readonly by: number
  /** of the role's score when it is gained, or last had */
  readonly value: number
  /** the larger of the score's baselines, at the same record as `value` */
  readonly baseline: number
}

/** What one head does at each of the records: its strongest role, or null. */
export interface HeadTimeline {
  /** "layer.head" */
  readonly head: string
  /** one per row of `LearningStages.rows` */
  readonly roles: readonly (string | null)[]
}

/** What a list of probe records says about training. Made by `learningStages`. */
export interface LearningStages {
  /** one per record, in the order of their steps */
  readonly rows: readonly StageRow[]
  /** in the order of their steps */
  readonly changes: readonly RoleChange[]
  /** the two records between which the loss falls most per step; null where it never falls */
  readonly steepest: {
    /** step of the earlier record */
    readonly from: number
    /** step of the later record */
    readonly to: number
    /** loss at the earlier record */
    readonly before: number
    /** loss at the later record */
    readonly after: number
  } | null
  /** each head's role over time */
  readonly timeline: readonly HeadTimeline[]
  /** the steps of the records that show how heads change: the first, those around the steepest fall, the last */
  readonly evolution: readonly number[]
  /** all that as sentences; at least one */
  readonly sentences: readonly string[]
}

/** A role in one record alone is noise: it is gained only where the next record has it too, or there is none. */
const RECORDS = 2

/**
 * What the records of a probe say about how heads came to do what they do. Nothing is interpreted: a head gains a role
 * between the last record in which its score did not stand out from its baselines and the first of two in a row in
 * which it did, and loses it likewise.
 *
 * @param records in the order of their steps
 * @throws {OptionError} when there are none, or they are not in order
 *
 * @example
 * ```js
 * import { learningStages, Probe } from 'heddle/analysis'
 * import { CausalLanguageModel } from 'heddle/nn'
 * import { AdamW, copyTask, crossEntropy, train } from 'heddle/train'
 *
 * const model = new CausalLanguageModel({ vocabulary: 9, modelDim: 16, heads: 2, layers: 2, seed: 1 })
 * const [data, loss] = [copyTask({ batch: 4, length: 16, symbols: 8 }), crossEntropy()]
 * const probe = new Probe({ every: 5, batch: data(1000), loss })
 * const records = [await probe.record(model, 0)]
 * for await (const { step } of train(model, { data, loss, optimizer: new AdamW(model), steps: 10 }))
 *   if (probe.isDue(step)) records.push(await probe.record(model, step))
 * console.log(learningStages(records).sentences.join(' '))
 * ```
 */
export function learningStages(records: readonly ProbeRecord[]): LearningStages {
  checkRecords(records)
  const rows = records.map(stageRow)
  const changes = changesOf(records)
  const steepest = steepestFall(records)
  return {
    rows,
    changes,
    steepest,
    timeline: timelinesOf(records),
    evolution: evolutionSteps(
      rows.map(({ step }) => step),
      steepest,
    ),
    sentences: sentencesOf(records, changes, steepest),
  }
}

function timelinesOf(records: readonly ProbeRecord[]): HeadTimeline[] {
  const heads = records[0]?.heads ?? []
  return heads.map((head, at) => ({
    head: nameOf(head),
    roles: records.map((record) => record.heads[at]?.roles[0]?.name ?? null),
  }))
}

/** At most six: the first, before and after the steepest fall, one more after it, halfway from there, and the last. */
function evolutionSteps(steps: readonly number[], steepest: LearningStages['steepest']): number[] {
  const last = steps.length - 1
  const fallen = steepest === null ? 0 : steps.indexOf(steepest.to)
  const around = steepest === null ? [] : [fallen - 1, fallen, Math.min(last, fallen + 1)]
  const places = new Set([0, ...around, Math.round(((around.at(-1) ?? 0) + last) / 2), last])
  return [...places].sort((a, b) => a - b).map((place) => steps[place] as number)
}

function checkRecords(records: unknown): asserts records is readonly ProbeRecord[] {
  if (!Array.isArray(records) || records.length === 0)
    throw new OptionError(`learningStages: expected one record or more, got ${describe(records)}`)
  for (const [index, record] of (records as ProbeRecord[]).entries()) {
    checkNames(`learningStages: record ${index}`, record, ['step', 'loss', 'entropy', 'heads', 'axes', 'elapsedMs'])
    const before = (records as ProbeRecord[])[index - 1]
    if (before !== undefined && record.step <= before.step)
      throw new OptionError(
        `learningStages: expected records in the order of their steps, got ${record.step} after ${before.step}`,
      )
  }
}

function stageRow({ step, loss, entropy, heads }: ProbeRecord): StageRow {
  const roles: Record<string, string[]> = {}
  for (const head of heads) for (const { name } of head.roles) (roles[name] ??= []).push(nameOf(head))
  return { step, loss, entropy, roles }
}

function nameOf({ layer, head }: Pick<ProbedHead, 'layer' | 'head'>): string {
  return `${layer}.${head}`
}

function changesOf(records: readonly ProbeRecord[]): RoleChange[] {
  const [first] = records
  const found = (first?.heads ?? []).flatMap((head, at) => {
    const timeline = records.map((record) => record.heads[at]?.roles ?? [])
    const names = [...new Set(timeline.flatMap((roles) => roles.map(({ name }) => name)))]
    return names.flatMap((role) =>
      roleChanges(
        nameOf(head),
        role,
        records,
        timeline.map((roles) => roles.find(({ name }) => name === role)),
      ),
    )
  })
  return found.sort((a, b) => a.by - b.by)
}

/** Gains and losses of one role of one head. */
function roleChanges(
  head: string,
  role: string,
  records: readonly ProbeRecord[],
  held: readonly (Role | undefined)[],
): RoleChange[] {
  const changes: RoleChange[] = []
  let has = false
  held.forEach((own, index) => {
    const lasts = held.slice(index, index + RECORDS).every((each) => (each !== undefined) === (own !== undefined))
    if ((own !== undefined) === has || !lasts) return
    has = own !== undefined
    const { value, baseline } = (own ?? held.slice(0, index).findLast((each) => each !== undefined)) as Role
    changes.push({
      head,
      role,
      kind: has ? 'gains' : 'loses',
      after: records[index - 1]?.step ?? null,
      by: (records[index] as ProbeRecord).step,
      value,
      baseline,
    })
  })
  return changes
}

function steepestFall(records: readonly ProbeRecord[]): LearningStages['steepest'] {
  const falls = records.slice(1).map((record, index) => {
    const before = records[index] as ProbeRecord
    return { from: before.step, to: record.step, before: before.loss, after: record.loss }
  })
  const rate = ({ from, to, before, after }: (typeof falls)[number]): number => (before - after) / (to - from)
  const [steepest] = falls.filter((fall) => rate(fall) > 0).sort((a, b) => rate(b) - rate(a))
  return steepest ?? null
}

/** The roles that masses make, and what a head with one is called, in the order of plots. */
export const ROLE_TITLES: Readonly<Record<MassName, string>> = {
  previous: 'a previous-token head',
  next: 'a next-token head',
  self: 'a head that attends to its own position',
  first: 'a first-token head',
  near: 'a head that attends nearby',
  duplicate: 'a duplicate-token head',
  induction: 'an induction head',
}

/**
 * What a head with a role is called: `an induction head`.
 *
 * @param role the name of a role, as in `Role`
 */
export function roleTitle(role: string): string {
  const titles: Readonly<Partial<Record<string, string>>> = ROLE_TITLES
  return titles[role] ?? `a head for ${role.replace(/^relation: /, 'the relation ')}`
}

function sentencesOf(
  records: readonly ProbeRecord[],
  changes: readonly RoleChange[],
  steepest: LearningStages['steepest'],
): string[] {
  const evidence = ({ value, baseline }: RoleChange): string =>
    `score ${value.toFixed(2)}, baseline ${baseline.toFixed(2)}`
  const roles = changes.map((change) => {
    const { head, role, kind, after, by } = change
    if (after === null)
      return `Head ${head} is ${roleTitle(role)} from the first record on, at step ${by} (${evidence(change)}).`
    const verb = kind === 'gains' ? 'becomes' : 'stops being'
    return `Head ${head} ${verb} ${roleTitle(role)} between steps ${after} and ${by} (${evidence(change)}).`
  })
  const fall =
    steepest === null
      ? []
      : [
          `The loss falls fastest between steps ${steepest.from} and ${steepest.to}: from ${steepest.before.toFixed(3)} to ${steepest.after.toFixed(3)}.`,
        ]
  const nothing = `In ${records.length} ${records.length === 1 ? 'record' : 'records'} no head takes on a role that its baselines do not explain.`
  return [...(roles.length === 0 ? [nothing] : roles), ...fall]
}
