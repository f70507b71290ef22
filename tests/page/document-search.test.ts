import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build } from 'vite'
import { beforeAll, describe, expect, test } from 'vitest'
import { expectSound, shoot, usePage, type Visit, type VisitOptions } from './support/use-page.ts'

const path = (name: string): string => fileURLToPath(new URL(`../../${name}`, import.meta.url))
const EXAMPLE = path('examples/document-search')
const OUTPUT = path('build/document-search')
const open = usePage()
const visit = (options: VisitOptions = {}): Promise<Visit> => open({ built: 'document-search', ...options })

beforeAll(async () => {
  await build({
    root: EXAMPLE,
    configFile: `${EXAMPLE}/vite.config.js`,
    logLevel: 'warn',
    resolve: {
      alias: [
        { find: /^heddle$/, replacement: path('dist/index.js') },
        { find: /^heddle\/(\w+)$/, replacement: path('dist/$1.js') },
      ],
    },
    build: { outDir: OUTPUT, emptyOutDir: true },
  })
})

const filesOf = (folder: string): string[] =>
  readdirSync(`${EXAMPLE}/${folder}`).map((name) => `${EXAMPLE}/${folder}/${name}`)
const statusIs = ({ page }: Visit, text: RegExp): Promise<void> => page.locator('#status', { hasText: text }).waitFor()

async function ask({ page }: Visit, question: string): Promise<string> {
  await page.getByLabel('Question').fill(question)
  await page.getByRole('button', { name: 'Search' }).click()
  await page.locator('#status', { hasText: 'The closest passage is in' }).waitFor()
  return page.locator('#results li').first().innerText()
}

describe('document search', () => {
  test.each([
    ['light', 1280, true],
    ['dark', 375, false],
  ] as const)("the example's files, %s, %i pixels wide, shared memory: %s", async (theme, width, isolated) => {
    const opened = await visit({ theme, width, isolated })
    const { page } = opened
    expect(await page.getByRole('button', { name: 'Search' }).isDisabled()).toBe(true)
    await page.getByRole('button', { name: "Use the example's" }).click()
    await statusIs(opened, /\d+ passages of 3 texts are indexed, by a jina_bert_v2 model/)
    expect(await ask(opened, 'Which part of a loom separates the warp threads?')).toMatch(
      /weaving\.txt · 0\.\d+\s+The heddle/,
    )
    await expectSound(opened)
    await shoot(opened, `document-search-${theme}-${width}`)
  })

  test('files that are chosen: the model, texts, another question', async () => {
    const opened = await visit()
    const { page } = opened
    await page.getByLabel('Model').setInputFiles(filesOf('tiny-model'))
    await page.getByLabel('Texts').setInputFiles(filesOf('texts'))
    await page.getByRole('button', { name: 'Index' }).click()
    await statusIs(opened, /passages of 3 texts are indexed/)
    expect(await ask(opened, 'spring tide at full moon')).toMatch(/tides\.txt · 0\.\d+\s+The sun raises tides/)
    await expectSound(opened)
  })

  test('what is wrong is said: no files, a model without weights, an empty text and an empty question', async () => {
    const opened = await visit()
    const { page } = opened
    const index = page.getByRole('button', { name: 'Index' })
    await index.click()
    await statusIs(opened, /Expected files of a model and at least one text/)
    await page.getByLabel('Texts').setInputFiles(filesOf('texts'))
    await page.getByLabel('Model').setInputFiles([`${EXAMPLE}/tiny-model/config.json`])
    await index.click()
    await statusIs(opened, /FormatError: .*expected model\.safetensors in .*, found none/)
    expect(await page.getByRole('button', { name: 'Search' }).isDisabled()).toBe(true)
    await page.getByLabel('Model').setInputFiles(filesOf('tiny-model'))
    await page
      .getByLabel('Texts')
      .setInputFiles([{ name: 'empty.txt', mimeType: 'text/plain', buffer: Buffer.from('\n\n') }])
    await index.click()
    await statusIs(opened, /expected some text in empty\.txt, found none/)
    await page.getByLabel('Texts').setInputFiles(filesOf('texts'))
    await index.click()
    await statusIs(opened, /are indexed/)
    await page.getByRole('button', { name: 'Search' }).click()
    await statusIs(opened, /OptionError: embed: document: expected at least one token, got an empty text/)
    await expectSound(opened)
  })
})
