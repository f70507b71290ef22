import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CausalLanguageModel, writeSafetensors } from 'heddle/nn'
import { expect, test } from 'vitest'
import { expectNoLongTask, expectSound, shoot, traceMainThread, usePage, type Visit } from './support/use-page.ts'

const visit = usePage()
const PIECES = ['\n', ...'abcdefghijklmnopqrstuvwxyz']

/** A small model as `heddle train` writes it. */
async function modelFile(): Promise<string> {
  const options = { vocabulary: PIECES.length, layers: 2, heads: 2, modelDim: 16, seed: 5 }
  const bytes = writeSafetensors(new CausalLanguageModel(options).stateDict(), {
    model: JSON.stringify(options),
    pieces: JSON.stringify(PIECES),
  })
  const path = join(await mkdtemp(join(tmpdir(), 'heddle-page-')), 'small.safetensors')
  await writeFile(path, bytes)
  return path
}

async function openModel({ page }: Visit): Promise<void> {
  await page.locator('input[type="file"]').setInputFiles(await modelFile())
  await page.getByText('The model from small.safetensors').waitFor()
}

/** The shares that stand below the tokens of a strip: 0 of the chosen head, 1 of rollout. */
async function shares({ page }: Visit, strip: number): Promise<number[]> {
  const texts = await page.locator('.tokens').nth(strip).locator('.percent').allInnerTexts()
  return texts.map((percent) => (percent === '' ? NaN : Number(percent.replace(' %', ''))))
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}

/** Rows of the table of roles, as they are read. */
async function roleRows({ page }: Visit): Promise<string[][]> {
  const rows = await page.locator('.role-table tbody tr').all()
  return Promise.all(rows.map((row) => row.locator('th, td').allInnerTexts()))
}

test.each([
  ['light', 1280],
  ['dark', 375],
] as const)('heads in the %s theme, %i pixels wide: a model from a file on one’s own input', async (theme, width) => {
  const opened = await visit({ view: 'heads', theme, width })
  const { page } = opened
  await page.getByText('Comes with Heddle: it spells English first names').waitFor()
  await page.locator('.tokens li').nth('isabella'.length).waitFor()
  // Three layers of four heads.
  expect(await page.locator('.role-table tbody tr').count()).toBe(12)
  await shoot(opened, `heads-shipped-${theme}-${width}`)
  await openModel(opened)
  await page.getByLabel('Input', { exact: true }).fill('anna')
  await page.waitForFunction(() => document.querySelectorAll('.tokens:first-of-type li').length === 5)
  await page.getByRole('button', { name: 'Head 1.1' }).click()
  await page.getByRole('heading', { name: 'Where “a” attends' }).waitFor()
  await page.locator('.tokens button').nth(2).hover()
  await page.getByRole('heading', { name: 'Where “n” attends' }).waitFor()
  // A causal row: three weights that sum to 100 %, but for rounding, and none behind them. So does rollout.
  for (const strip of [0, 1]) {
    const percents = await shares(opened, strip)
    expect(percents.slice(3)).toEqual([NaN, NaN])
    expect(Math.abs(sum(percents.slice(0, 3)) - 100)).toBeLessThanOrEqual(2)
  }
  await expectSound(opened)
  await shoot(opened, `heads-${theme}-${width}`)
})

test.each([
  ['dark', 1280, 'en-US', 'Induction', /^Found: .*induction \(1\.0, 1\.1\)/, 'induction'],
  ['light', 390, 'ko-KR', '인덕션', /^찾은 역할: .*인덕션 \(1\.0, 1\.1\)/, '인덕션'],
] as const)(
  'finds the induction heads of the shipped model, with their evidence (%s, %i pixels, %s)',
  async (theme, width, language, model, message, role) => {
    const opened = await visit({ view: 'heads', theme, width, language })
    const { page } = opened
    await page.getByRole('radio', { name: model, exact: true }).check()
    await page.getByText(message).waitFor()
    const rows = await roleRows(opened)
    expect(rows.map(([name]) => name)).toEqual(['0.0', '0.1', '1.0', '1.1'])
    for (const [, found, ...evidence] of rows.slice(2)) {
      const [share = 0, uniform = 0, shuffled = 0] = evidence.map((percent) => Number(percent.replace(' %', '')))
      expect(found).toBe(role)
      // The model was trained to exactness, so nearly all of it; the baselines lie far below.
      expect(share).toBeGreaterThan(80)
      expect(2 * Math.max(uniform, shuffled)).toBeLessThan(share)
    }
    // The head that is shown first is one of them; its own table says the same.
    expect(await page.locator('.evidence tr.found th').allInnerTexts()).toEqual([role])
    await expectSound(opened)
    await shoot(opened, `heads-induction-${theme}-${width}`)
  },
)

test('points at weights with the pointer on the matrix, and chooses a head on the grid', async () => {
  const opened = await visit({ view: 'heads' })
  const { page } = opened
  await page.locator('.tokens li').nth('isabella'.length).waitFor()
  await page.locator('.pickable svg > g').nth(5).click()
  await page.getByRole('button', { name: 'Head 1.1', pressed: true }).waitFor()
  const matrix = page.locator('section', { has: page.locator('.evidence') }).locator('rect.edge')
  const { height = 0, width = 0 } = (await matrix.boundingBox()) ?? {}
  // The fourth of nine rows: ⏎ i s a.
  await matrix.hover({ position: { x: width / 2, y: (height * 3.5) / 9 }, force: true })
  await page.getByRole('button', { name: 'a', exact: true, pressed: true }).waitFor()
  expect((await shares(opened, 0)).filter((share) => !Number.isNaN(share))).toHaveLength(4)
})

test('takes numbers for a model of symbols, and says which ones it does not know', async () => {
  const opened = await visit({ view: 'heads' })
  const { page } = opened
  await page.getByRole('radio', { name: 'Induction' }).check()
  const field = page.getByLabel('Input: numbers of symbols')
  await field.fill('1 2, 32 x 1')
  await page.getByText('The model does not know “32”, “x”: its symbols are 0 to 31').waitFor()
  expect(await page.locator('.tokens').count()).toBe(0)
  await field.fill('5 6 7 5 6')
  await page.waitForFunction(() => document.querySelectorAll('.tokens:first-of-type li').length === 5)
  await page.getByRole('button', { name: 'Another sequence' }).click()
  await page.waitForFunction(() => document.querySelectorAll('.tokens:first-of-type li').length === 40)
  await field.fill('')
  await page.getByText('Type some numbers').waitFor()
  await expectSound(opened)
})

test('says what is wrong with an input or a file, and goes on', async () => {
  const opened = await visit({ view: 'heads' })
  const { page } = opened
  await openModel(opened)
  const field = page.getByLabel('Input', { exact: true })
  await field.fill('añá<script>')
  await page.getByText('The model has no token for “ñ”, “á”, “<”, “>”').waitFor()
  await field.fill('')
  await page.getByText('Type something').waitFor()
  await field.fill('anna'.repeat(30))
  await page.getByText('That is 121 tokens. At most 64 are shown.').waitFor()
  const refuse = async (buffer: Buffer, message: RegExp): Promise<void> => {
    await page
      .locator('input[type="file"]')
      .setInputFiles({ name: 'photo.safetensors', mimeType: 'application/octet-stream', buffer })
    await page.getByRole('alert').getByText(message).waitFor()
  }
  await refuse(Buffer.from('not a model at all, whatever its name says'), /expected/)
  await refuse(Buffer.from(writeSafetensors({})), /expected a model that “heddle train” wrote/)
  await refuse(Buffer.alloc(0), /expected/)
  // The model that was there before stays.
  await field.fill('anna')
  await page.waitForFunction(() => document.querySelectorAll('.tokens:first-of-type li').length === 5)
  await expectSound(opened)
})

test('keeps the main thread free while it loads and analyzes', async () => {
  const opened = await visit({ view: 'heads' })
  const { page } = opened
  await page.locator('.tokens li').nth('isabella'.length).waitFor()
  const work = async (): Promise<void> => {
    await page.getByRole('radio', { name: 'Induction' }).check()
    await page.getByText(/^Found: .*induction/).waitFor()
    await page.getByRole('button', { name: 'Another sequence' }).click()
    await page.locator('.tokens button').nth(20).hover()
    await page.getByRole('radio', { name: 'Names' }).check()
    await page.getByLabel('Input', { exact: true }).fill('a name of the greatest length'.replaceAll(' ', '-'))
    await page.waitForFunction(() => document.querySelectorAll('.tokens:first-of-type li').length === 30)
  }
  expectNoLongTask(await traceMainThread(opened, work))
})

test('shows the model that the tab has trained', async () => {
  const opened = await visit({ view: 'train' })
  const { page } = opened
  await page.getByRole('button', { name: 'Train', exact: true }).click()
  await page.locator('.samples span').first().waitFor()
  await page.getByRole('link', { name: 'Heads' }).click()
  await page.getByText('The model that was trained in this tab').waitFor()
  await page.locator('.tokens li').nth('isabella'.length).waitFor()
  expect(await page.locator('.role-table tbody tr').count()).toBe(8)
  await expectSound(opened)
})
