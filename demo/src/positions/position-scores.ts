import type { AttentionInputs, AttentionOptions } from 'heddle'
import { sinusoidalTable } from 'heddle/nn'

/** Positions that are compared. */
export const POSITIONS = 128
/** Size of a head. */
export const SIZE = 64
export const ALIBI_HEADS = 8

export const SCHEMES = ['sinusoidal', 'rotary', 'alibi'] as const
export type Scheme = (typeof SCHEMES)[number]

export interface PositionSettings {
  /** of rotary positions */
  readonly base: number
  /** ALiBi's head, from 1 */
  readonly head: number
}

/** A call of attention in which position is all there is: the content of every row is the same. */
export function positionCall(
  scheme: Scheme,
  { base, head }: PositionSettings,
): { readonly inputs: AttentionInputs; readonly options: AttentionOptions } {
  if (scheme === 'sinusoidal') return { inputs: sameRows(sinusoidalTable(POSITIONS, SIZE).data), options: {} }
  if (scheme === 'rotary') return { inputs: sameRows(rotatedOnes(base)), options: {} }
  return {
    inputs: sameRows(new Float32Array(POSITIONS * SIZE)),
    options: { alibiSlopes: Float32Array.of(alibiSlope(head)) },
  }
}

/** 2^(−8h/H): Press et al. 2022, §3. */
export function alibiSlope(head: number): number {
  return 2 ** ((-8 * head) / ALIBI_HEADS)
}

/** A row of ones, rotated by its position: pair i turns by p·base^(−2i/D) (Su et al. 2021, §3.2.2). */
function rotatedOnes(base: number): Float32Array {
  const rows = new Float32Array(POSITIONS * SIZE)
  for (let position = 0; position < POSITIONS; position++) {
    for (let pair = 0; pair < SIZE / 2; pair++) {
      const angle = position * base ** ((-2 * pair) / SIZE)
      rows[position * SIZE + 2 * pair] = Math.cos(angle) - Math.sin(angle)
      rows[position * SIZE + 2 * pair + 1] = Math.sin(angle) + Math.cos(angle)
    }
  }
  return rows
}

function sameRows(data: Float32Array): AttentionInputs {
  const tensor = { data, shape: [1, 1, POSITIONS, SIZE] }
  return { query: tensor, key: tensor, value: tensor }
}
