import type { TaskContext } from '../backends/backend.ts'
import { runBlocks } from '../core/element-blocks.ts'
import type { ElementsWork } from '../protocol/element-pass.ts'

/** Runs loops over attached arrays. Any lane can: they are plain loops, which need no backend. */
export async function runElements(
  { block, sums, index }: ElementsWork,
  context: TaskContext,
): Promise<{ readonly elapsedMs: number }> {
  const startMs = performance.now()
  const parts = block.map((part) => ({
    ...part,
    arrays: part.arrays.map((id) => context.array(id) as Float32Array),
  }))
  const [sum = NaN] = await runBlocks([parts], () => context.pace())
  new Float64Array(context.array(sums).buffer)[index] = sum
  return { elapsedMs: performance.now() - startMs }
}
