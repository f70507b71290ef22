import { ROLE_TITLES, type MassName } from '../../analysis/index.ts'
import type { TimelineKind } from '../../plots/role-timeline.ts'

const LABELS: Readonly<Record<MassName, string>> = {
  previous: 'previous token',
  next: 'next token',
  self: 'own position',
  first: 'first token',
  near: 'nearby',
  duplicate: 'duplicate token',
  induction: 'induction',
}

/** What stands for every relation. */
const RELATION: TimelineKind = { name: 'relation', label: 'a relation' }

/** The roles of heads in the order that gives their colours. */
export const ROLE_KINDS: readonly TimelineKind[] = [
  ...(Object.keys(ROLE_TITLES) as MassName[]).map((name) => ({ name, label: LABELS[name] })),
  RELATION,
]

/** The kind of a role; all relations are one. */
export function kindOf(role: string): string {
  return role.startsWith('relation: ') ? RELATION.name : role
}

/** A role in few words, for a panel or a cell of a table. */
export function roleLabel(role: string): string {
  return (LABELS as Readonly<Partial<Record<string, string>>>)[role] ?? role.replace(/^relation: /, '')
}
