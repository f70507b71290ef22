import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CausalLanguageModel, writeSafetensors } from 'heddle/nn'
import { expect, test } from 'vitest'
import { expectSound, shoot, usePage, type Visit } from './support/use-page.ts'

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

test.each([
  ['light', 1280],
  ['dark', 375],
] as const)('heads in the %s theme, %i pixels wide: a model from a file on one’s own input', async (theme, width) => {
  const opened = await visit({ view: 'heads', theme, width })
  const { page } = opened
  await page.getByText('The names model that comes with Heddle').waitFor()
  await page.locator('.tokens li').nth('isabella'.length).waitFor()
  // Three layers of four heads.
  expect(await page.getByRole('radio').count()).toBe(12)
  await shoot(opened, `heads-shipped-${theme}-${width}`)
  await openModel(opened)
  await page.getByLabel('Input', { exact: true }).fill('anna')
  await page.waitForFunction(() => document.querySelectorAll('.tokens li').length === 5)
  expect(await page.locator('.tokens li').count()).toBe(5)
  await page.getByRole('radio', { name: '2.2' }).check()
  await page.getByRole('heading', { name: 'Where “a” attends' }).waitFor()
  await page.locator('.tokens button').nth(2).hover()
  await page.getByRole('heading', { name: 'Where “n” attends' }).waitFor()
  // A causal row: three weights that sum to 100 %, but for rounding, and none behind them.
  const percents = (await page.locator('.tokens .percent').allInnerTexts()).map((percent) => percent.replace(' %', ''))
  expect(percents.slice(3)).toEqual(['', ''])
  expect(Math.abs(percents.slice(0, 3).reduce((sum, percent) => sum + Number(percent), 0) - 100)).toBeLessThanOrEqual(2)
  await expectSound(opened)
  await shoot(opened, `heads-${theme}-${width}`)
})

test('names the characters that the model does not know, and a file that is no model', async () => {
  const opened = await visit({ view: 'heads' })
  const { page } = opened
  await openModel(opened)
  await page.getByLabel('Input', { exact: true }).fill('añá<')
  await page.getByText('The model has no token for “ñ”, “á”, “<”').waitFor()
  await page.locator('input[type="file"]').setInputFiles({
    name: 'photo.safetensors',
    mimeType: 'application/octet-stream',
    buffer: Buffer.from('not a model at all, whatever its name says'),
  })
  await page.getByRole('alert').waitFor()
  expect(await page.getByRole('alert').innerText()).toMatch(/expected/)
  await expectSound(opened)
})

test('shows the model that the tab has trained', async () => {
  const opened = await visit({ view: 'train' })
  const { page } = opened
  await page.getByRole('button', { name: 'Train', exact: true }).click()
  await page.locator('.samples span').first().waitFor()
  await page.getByRole('link', { name: 'Heads' }).click()
  await page.getByText('The model that was trained in this tab').waitFor()
  expect(await page.locator('.tokens li').count()).toBe('isabella'.length + 1)
  expect(await page.getByRole('radio').count()).toBe(8)
})
