import type { RestatedOptions } from '../attention/restate-options.ts'
import type { AttentionOptions, AttentionWindow } from '../attention/attention-options.ts'
import type { AttentionSizes } from '../plan/attention-sizes.ts'
import type { MassName } from './report.ts'

/** The sets of keys that positions alone decide about; those of tokens stand in `token-sets.ts`. */
export type PositionSet = Exclude<MassName, 'duplicate' | 'induction'>

export const POSITION_SETS: readonly PositionSet[] = ['previous', 'next', 'self', 'first', 'near']

/** Keys around the query's own position: previous and next key, itself, and those within `near`. */
function windowOf(set: Exclude<PositionSet, 'first'>, near: number): Required<AttentionWindow> {
  const windows = {
    previous: { before: 1, after: -1 },
    next: { before: -1, after: 1 },
    self: { before: 0, after: 0 },
    near: { before: near, after: near },
  }
  return windows[set]
}

/** The options that leave, of the keys that `options` allow, those of the set. */
export function restrictTo(
  set: PositionSet,
  options: RestatedOptions,
  { batch }: AttentionSizes,
  near: number,
): AttentionOptions {
  if (set === 'first')
    return { keyLengths: Int32Array.from({ length: batch }, (_, b) => Math.min(1, options.keyLengths?.[b] ?? 1)) }
  return { window: intersection(options.window, windowOf(set, near)) }
}

/** The keys that both windows hold. */
export function intersection(
  own: AttentionWindow | undefined,
  { before, after }: Required<AttentionWindow>,
): AttentionWindow {
  return { before: Math.min(own?.before ?? Infinity, before), after: Math.min(own?.after ?? Infinity, after) }
}
