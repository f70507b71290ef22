import { describe, expect, test } from 'vitest'
import { expectNoLongTask, expectSound, shoot, traceMainThread, usePage, type Visit } from './support/use-page.ts'

const visit = usePage()

async function stepOf({ page }: Visit): Promise<number> {
  return Number.parseInt(await page.locator('.train .numbers dd').first().innerText(), 10)
}

/** Until the run has made `steps` steps. */
async function trainUntil({ page }: Visit, steps: number): Promise<void> {
  await page.waitForFunction(
    (count) => Number.parseInt(document.querySelector('.train .numbers dd')?.textContent ?? '0', 10) >= count,
    steps,
  )
}

describe('training names', () => {
  test.each([
    ['light', 1280],
    ['dark', 375],
  ] as const)(
    'in the %s theme, %i pixels wide: the loss falls, samples and heads appear; it stops when asked',
    async (theme, width) => {
      const opened = await visit({ view: 'train', theme, width })
      const { page } = opened
      await page.getByRole('button', { name: 'Train', exact: true }).click()
      await trainUntil(opened, 26)
      // Chance is ln 27 ≈ 3.3; names are below 2.9 after two dozen steps with any seed that learns at all.
      const heldOut = Number(await page.locator('.train .numbers dd').nth(2).innerText())
      expect(heldOut).toBeGreaterThan(1.5)
      expect(heldOut).toBeLessThan(2.9)
      expect(await page.locator('.samples span').count()).toBeGreaterThan(3)
      for (const name of ['bigram', 'unigram'])
        await page.locator('.plot .legend', { hasText: new RegExp(`^${name}$`) }).waitFor()
      await page.locator('.plot text', { hasText: 'step 25' }).first().waitFor()
      await page.getByRole('button', { name: 'Stop' }).click()
      await page.getByText('The model keeps its last whole step').waitFor()
      await expectSound(opened)
      await shoot(opened, `train-${theme}-${width}`)
    },
  )

  test('pauses, resumes where it was, and takes another rate', async () => {
    const opened = await visit({ view: 'train' })
    const { page } = opened
    await page.getByRole('button', { name: 'Train', exact: true }).click()
    await trainUntil(opened, 3)
    await page.getByRole('button', { name: 'Pause' }).click()
    await page.getByText('Paused after a whole step').waitFor()
    await page.getByRole('slider').fill('-3')
    expect(await page.locator('.slider output').innerText()).toBe('0.0010')
    const paused = await stepOf(opened)
    await page.getByRole('button', { name: 'Resume' }).click()
    await trainUntil(opened, paused + 5)
    await expectSound(opened)
  })

  test('leaves the page free while it reads the names and trains', async () => {
    const opened = await visit({ view: 'train' })
    const { page } = opened
    const start = page.getByRole('button', { name: 'Train', exact: true, disabled: false })
    await start.waitFor()
    const work = async (): Promise<void> => {
      await start.click()
      await trainUntil(opened, 27)
    }
    expectNoLongTask(await traceMainThread(opened, work))
  })
})
