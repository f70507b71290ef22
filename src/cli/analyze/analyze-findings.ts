import { roleTitle, type HeadAnalysis, type ModelAnalysis, type ScoreName } from '../../analysis/index.ts'

/** A role of a head with what speaks for it. */
export interface RoleEvidence {
  /** "layer.head" */
  readonly head: string
  readonly role: string
  readonly value: number
  /** the same for attention that is equal over all keys */
  readonly uniform: number | null
  /** the same with the tokens shuffled, for roles that depend on tokens */
  readonly shuffled: number | null
  /** of a relation: the share of pairs at the best fixed offset */
  readonly fixedOffset: number | null
  /** rows, or pairs of a relation, that were counted */
  readonly counted: number
  /** all that in words */
  readonly sentence: string
}

/** One relation, and the head that finds it best. */
export interface RelationEvidence {
  readonly relation: string
  /** "layer.head" */
  readonly head: string
  readonly value: number
  readonly accuracy: number
  readonly uniform: number
  readonly fixedOffset: { readonly offset: number; readonly value: number }
  readonly pairs: number
}

/** Every role of every head, with its numbers. */
export function roleEvidence({ layers }: ModelAnalysis): RoleEvidence[] {
  return layers.flatMap(({ index, heads }) =>
    heads.flatMap((head) =>
      head.roles.map(({ name, value }) => evidenceOf(`${index}.${head.head}`, head, name, value)),
    ),
  )
}

function evidenceOf(name: string, head: HeadAnalysis, role: string, value: number): RoleEvidence {
  const relation = head.relations.find((each) => role === `relation: ${each.name}`)
  const score = head.scores[role as ScoreName]
  const uniform = relation?.uniform ?? score?.uniform ?? null
  const shuffled = score?.shuffled ?? null
  const fixedOffset = relation?.fixedOffset?.value ?? null
  const counted = relation?.pairs ?? score?.rows ?? 0
  const baselines = [
    ...(uniform === null ? [] : [`uniform ${uniform.toFixed(2)}`]),
    ...(shuffled === null ? [] : [`shuffled tokens ${shuffled.toFixed(2)}`]),
    ...(fixedOffset === null ? [] : [`best fixed offset ${fixedOffset.toFixed(2)}`]),
  ]
  const what = relation === undefined ? 'rows' : 'pairs'
  const sentence = `Head ${name} is ${roleTitle(role)}: score ${value.toFixed(2)} over ${counted} ${what} (${baselines.join(', ')}).`
  return { head: name, role, value, uniform, shuffled, fixedOffset, counted, sentence }
}

/** For each relation the head whose mean weight on the related key is largest; relations without pairs are left out. */
export function relationEvidence({ layers }: ModelAnalysis): RelationEvidence[] {
  const best = new Map<string, RelationEvidence>()
  for (const { index, heads } of layers) {
    for (const { head, relations } of heads) {
      for (const { name, value, accuracy, uniform, fixedOffset, pairs } of relations) {
        if (value === null || accuracy === null || uniform === null || fixedOffset === null) continue
        if (value <= (best.get(name)?.value ?? -1)) continue
        best.set(name, { relation: name, head: `${index}.${head}`, value, accuracy, uniform, fixedOffset, pairs })
      }
    }
  }
  return [...best.values()]
}
