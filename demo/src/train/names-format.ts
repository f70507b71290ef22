import type { Baselines, Batch } from 'heddle/train'

/** Begins and ends every name. */
export const EDGE = '\n'
export const ROWS = { batch: 8, length: 128, pack: true } as const
/** the share that is measured on */
export const HELD_OUT = 0.1
export const SEED = 0

/** What the worker is asked for: the lists at these addresses. */
export interface NamesRequest {
  readonly urls: readonly string[]
}

export type NamesAnswer = { readonly ok: PreparedNames } | { readonly failure: string }

/** The names as the worker sends them. */
export interface PreparedNames {
  readonly vocabulary: readonly string[]
  readonly known: readonly string[]
  readonly heldOut: readonly string[]
  /** tokens of each name to learn from */
  readonly training: readonly Int32Array[]
  readonly validation: readonly Batch[]
  readonly baselines: Baselines
}
