/**
 * So many bytes at once make V8 collect there and then; smaller ones begin a collection that an idle thread never ends.
 */
const BLOCK_BYTES = 128 * 2 ** 20

let uncountedBytes = 0

/**
 * Counts shared memory that this thread made or let go of. Engines leave shared memory out of what makes them collect
 * garbage: a thread that does little else keeps every buffer that it ever saw, and the memory of a buffer is freed only
 * when no thread keeps it. So for each 128 MiB the engine is given as many plain bytes to collect, which are never
 * touched and so take no memory.
 */
export function countSharedBytes(bytes: number): void {
  uncountedBytes += bytes
  if (uncountedBytes < BLOCK_BYTES) return
  uncountedBytes = 0
  try {
    new ArrayBuffer(BLOCK_BYTES)
  } catch {
    // An engine that refuses them is short of memory, and has collected already.
  }
}
