import { expect, test } from 'vitest'
import { usePage } from './support/use-page.ts'

const visit = usePage()

// A host that does not send a file, as when a connection is lost.
test.each([
  ['book', '**/data-*.txt', null, 'The text could not be read.'],
  ['train', '**/names-*.txt', 'Train', 'The training stopped.'],
  ['heads', '**/*.safetensors', null, 'The model could not be read.'],
] as const)(
  'the view %s says so when a file cannot be had, and works once it can',
  async (view, file, start, message) => {
    const opened = await visit({ view: 'positions' })
    const { page } = opened
    await page.route(file, (route) => route.fulfill({ status: 503, body: 'busy' }))
    await page.evaluate((name) => (location.hash = `#/${name}`), view)
    if (start !== null) await page.getByRole('button', { name: start, exact: true }).click()
    await page.getByRole('alert').getByText(message).waitFor()
    expect(await page.getByRole('alert').innerText()).toContain('got status 503')
    await page.unroute(file)
    if (view === 'book') await page.getByRole('radio', { name: '4,096', exact: true }).check()
    if (view === 'train') await page.getByRole('button', { name: 'Train again' }).click()
    if (view === 'heads') await page.getByRole('radio', { name: 'Induction' }).check()
    const works = { book: '.plan', train: '.samples span', heads: '.role-table' }[view]
    await page.locator(works).first().waitFor()
    expect(await page.getByRole('alert').count()).toBe(0)
  },
)

// Silence counts as a loss after several seconds only, so this one takes long.
test.runIf(process.env['HEDDLE_HEAVY'] === '1')('goes on when all lanes are lost in the middle of a run', async () => {
  // Every worker that was started, to end them from outside as a browser short of memory does.
  const before = `
    const Native = Worker
    globalThis.started = []
    globalThis.Worker = class extends Native {
      constructor(...given) { super(...given); started.push(this) }
    }`
  const opened = await visit({ before })
  const { page } = opened
  await page.getByRole('radio', { name: '65,536', exact: true }).check()
  await page.getByText('65,536 of').waitFor()
  await page.getByRole('button', { name: 'Run attention' }).click()
  await page.locator('rect.bar').first().waitFor()
  await page.evaluate('started.forEach((worker) => worker.terminate())')
  // Lost lanes are replaced and their tasks done again: progress goes on, and nothing failed.
  const bars = await page.locator('rect.bar').count()
  await page.waitForFunction((count) => document.querySelectorAll('rect.bar').length > count + 2, bars)
  expect(await page.getByRole('alert').count()).toBe(0)
  await page.getByRole('button', { name: 'Stop' }).click()
  await page.getByText(/^Stopped after/).waitFor()
  expect(opened.problems).toEqual([])
})
