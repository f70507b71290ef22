import { expect, test } from 'vitest'
import { expectNoLongTask, expectSound, shoot, traceMainThread, usePage } from './support/use-page.ts'

const visit = usePage()

test.each([
  ['light', 1280],
  ['dark', 375],
] as const)('positions in the %s theme, %i pixels wide: three schemes on one position', async (theme, width) => {
  const opened = await visit({ view: 'positions', theme, width })
  const { page } = opened
  await page.locator('.plot path.curve.s2').first().waitFor({ state: 'attached' })
  for (const name of ['Sinusoidal', 'Rotary', 'ALiBi']) await page.locator('.plot .legend', { hasText: name }).waitFor()
  const curve = (): Promise<string | null> =>
    page.locator('.drawing').first().locator('path.curve.s2').last().getAttribute('d')
  const before = await curve()
  const move = async (): Promise<void> => {
    await page.getByRole('slider', { name: 'Head of ALiBi' }).fill('1')
    await page.waitForFunction(
      (old) => [...document.querySelectorAll('.drawing path.curve.s2')].every((path) => path.getAttribute('d') !== old),
      before,
    )
    await page.getByRole('slider', { name: 'Position that attends' }).fill('20')
    await page.locator('figcaption', { hasText: 'Where position 20 attends' }).waitFor()
  }
  expectNoLongTask(await traceMainThread(opened, move))
  expect(await curve()).not.toBe(before)
  await expectSound(opened)
  await shoot(opened, `positions-${theme}-${width}`)
})
