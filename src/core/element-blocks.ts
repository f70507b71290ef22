import { ELEMENT_LOOPS, type ElementRange, type ElementWork } from './element-loops.ts'

/** Some elements of a loop's arrays. */
export type ElementPart<Given = Float32Array> = ElementWork<Given> & ElementRange

/** Parts in order, with one sum. */
export type ElementBlock<Given = Float32Array> = readonly ElementPart<Given>[]

/** Well under a millisecond of any loop. */
export const SLICE_ELEMENTS = 32_768

/**
 * Runs blocks one after the other.
 *
 * @param pace called between slices; where it returns a promise, that is awaited first
 * @returns the sum of each block
 */
export async function runBlocks(
  blocks: readonly ElementBlock[],
  pace: () => Promise<void> | undefined,
): Promise<number[]> {
  const sums: number[] = []
  for (const block of blocks) {
    let sum = 0
    for (const { loop, arrays, numbers, start, end } of block) {
      for (let from = start; from < end; from += SLICE_ELEMENTS) {
        const turn = pace()
        if (turn !== undefined) await turn
        sum = ELEMENT_LOOPS[loop](arrays, numbers, { start: from, end: Math.min(end, from + SLICE_ELEMENTS) }, sum)
      }
    }
    sums.push(sum)
  }
  return sums
}

/** The elements of all works, one work after the other, cut into blocks of so many; the last one may be shorter. */
export function cutIntoBlocks(works: readonly ElementWork[], blockElements: number): ElementBlock[] {
  const blocks: ElementPart[][] = []
  let room = 0
  for (const work of works) {
    const length = work.arrays[0]?.length ?? 0
    for (let start = 0; start < length;) {
      if (room === 0) {
        blocks.push([])
        room = blockElements
      }
      const end = Math.min(length, start + room)
      blocks.at(-1)?.push({ ...work, start, end })
      room -= end - start
      start = end
    }
  }
  return blocks
}

/** How many elements blocks have together. */
export function elementsOfBlocks(blocks: readonly ElementBlock<unknown>[]): number {
  return blocks.flat().reduce((sum, { start, end }) => sum + end - start, 0)
}
