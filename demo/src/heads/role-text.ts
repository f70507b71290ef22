import type { MassName } from 'heddle/analysis'
import { text } from '../text/text.ts'

/** Kinds of attention that a head may be found to have, in the order in which they are listed. */
export const MASSES = [
  'previous',
  'self',
  'next',
  'first',
  'near',
  'duplicate',
  'induction',
] as const satisfies MassName[]

export function roleName(role: string): string {
  const mass = MASSES.find((each) => each === role)
  return mass === undefined ? role : text.value.heads.masses[mass].name
}

/** A share of 1 as it is read; a dash where there is none. */
export function percent(share: number | null | undefined): string {
  return share === null || share === undefined || Number.isNaN(share) ? '–' : `${Math.round(share * 100)} %`
}
