import { roundUp } from '../core/integers.ts'

/** Rows that go through a stage's steps at once; the hidden layer of a feed-forward exists for that many rows only. */
export const STAGE_TILE_ROWS = 64
/** Outputs of a linear layer that stand beside each other in a packed weight. */
export const PACKED_COLUMNS = 8

const PAGE_BYTES = 65_536
/** Below stand the kernels' own constants and parameters. */
const ARENA_START_BYTES = 8192
/** Everything in the arena starts at a multiple of it. */
const ALIGNMENT_BYTES = 16

export interface WeightShape {
  readonly outSize: number
  /** 1 for a vector */
  readonly inSize: number
}

/**
 * Bytes of a weight as a lane keeps it: a matrix is packed in panels of 8 outputs, the last one filled up; a vector
 * stays as it is.
 */
export function residentWeightBytes({ outSize, inSize }: WeightShape): number {
  return roundUp(roundUp(outSize, PACKED_COLUMNS) * inSize * 4, ALIGNMENT_BYTES)
}

/** Bytes of a stage's registers: [rows, width] each. */
export function registerBytes(registers: readonly number[], rows: number = STAGE_TILE_ROWS): number {
  return registers.reduce((sum, width) => sum + roundUp(rows * width * 4, ALIGNMENT_BYTES), 0)
}

/**
 * Bytes that a product of a tile's rows with a matrix of `inSize` inputs needs beside its registers: the rows packed by
 * four, and the products and maxima of one panel. `linearRows` lays them out in this order.
 */
export function linearScratchBytes(inSize: number, rows: number = STAGE_TILE_ROWS): number {
  return roundUp(rows, 4) * (inSize + PACKED_COLUMNS) * 4 + PACKED_COLUMNS * 4
}

/** The first byte that a lane may lay out. */
export const stageArenaStart: number = ARENA_START_BYTES

/** Bytes of a lane's linear memory for stages that hold so many bytes of registers and weights together. */
export function stageArenaBytes(bytes: number): number {
  return roundUp(ARENA_START_BYTES + bytes, PAGE_BYTES)
}
