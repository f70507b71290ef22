import { expect, test } from 'vitest'
import { expectNoLongTask, traceMainThread, usePage, type MainThread, type Visit } from './support/use-page.ts'

/** A page that draws 60 frames per second has so long for each. */
const FRAME_MS = 1000 / 60

const visit = usePage()

/** Until the page has made `steps` steps. */
async function trainUntil({ page }: Visit, steps: number): Promise<void> {
  await page.waitForFunction((count) => Number(document.body.dataset['steps'] ?? 0) >= count, steps)
}

test.each([
  ['shared', true],
  ['transferred', false],
] as const)('a page has its thread for every frame while it trains in workers, memory %s', async (_, isolated) => {
  const opened = await visit({ built: 'library-page', isolated })
  // The first steps make the program, and the engine compiles what runs often.
  await trainUntil(opened, 3)
  const parameters = Number(await opened.page.evaluate(() => document.body.dataset['parameters']))
  expect(parameters).toBeGreaterThan(3_000_000)
  // What every step does shows in each stretch; what the engine does once, such as a large collection, does not.
  const stretches: MainThread[] = []
  for (const steps of [7, 11, 15]) stretches.push(await traceMainThread(opened, () => trainUntil(opened, steps)))
  const [quietest] = stretches.toSorted((a, b) => a.longestMs - b.longestMs)
  expectNoLongTask(quietest as MainThread, FRAME_MS)
  expect(opened.problems).toEqual([])
})
