import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { expectNoLongTask, expectSound, shoot, traceMainThread, usePage, type Visit } from './support/use-page.ts'

const visit = usePage()

/** Each theme and each width once; all four with HEDDLE_HEAVY=1. */
const LOOKS = (
  [
    ['light', 1280],
    ['dark', 375],
    ['dark', 1280],
    ['light', 375],
  ] as const
).slice(0, process.env['HEDDLE_HEAVY'] === '1' ? 4 : 2)

/** The smallest text, so that a run takes a moment on any machine. */
async function chooseSmall({ page }: Visit): Promise<void> {
  await page.getByRole('radio', { name: '4,096', exact: true }).check()
  await page.getByText('4,096 of').waitFor()
}

async function runSmall(opened: Visit): Promise<void> {
  await chooseSmall(opened)
  await opened.page.getByRole('button', { name: 'Run attention' }).click()
  await opened.page.getByText(/^Done in/).waitFor()
}

describe('the whole book', () => {
  test.each(LOOKS)('in the %s theme, %i pixels wide: plan, run, look', async (theme, width) => {
    const opened = await visit({ theme, width })
    const { page } = opened
    await runSmall(opened)
    const plan = await page.locator('.plan').innerText()
    expect(plan).toContain('64.0 MiB') // 4,096² × 4 bytes
    expect(await page.locator('.figure rect.bar').count()).toBeGreaterThan(3)
    await page.locator('.page button', { hasText: /^sea$/ }).first().click()
    await page.locator('.places li').first().waitFor()
    // Weights of a row sum to 1, and a word that stands elsewhere looks there before anywhere else.
    expect(await page.locator('.places mark').first().innerText()).toMatch(/^seas?$/i)
    await expectSound(opened)
    await shoot(opened, `book-${theme}-${width}`)
  })

  test('keeps the main thread free while it reads and runs', async () => {
    const opened = await visit()
    await opened.page.locator('.plan').waitFor()
    const work = async (): Promise<void> => {
      await opened.page.getByRole('radio', { name: '4,096', exact: true }).check()
      await opened.page.getByText('4,096 of').waitFor()
      await opened.page.getByRole('button', { name: 'Run attention' }).click()
      await opened.page.getByText(/^Done in/).waitFor()
    }
    expectNoLongTask(await traceMainThread(opened, work))
  })

  test('stops when asked, says so, and runs again', async () => {
    const opened = await visit()
    const { page } = opened
    await page.getByRole('radio', { name: '65,536', exact: true }).check()
    await page.getByText('65,536 of').waitFor()
    await page.getByRole('button', { name: 'Run attention' }).click()
    await page.locator('rect.bar').first().waitFor()
    await page.getByRole('button', { name: 'Stop' }).click()
    await page.getByText(/^Stopped after/).waitFor()
    await shoot(opened, 'book-aborted')
    await runSmall(opened)
    await expectSound(opened)
  })

  test('jumps to a place that a word attends to', async () => {
    const opened = await visit()
    const { page } = opened
    await page.getByRole('radio', { name: '16,384', exact: true }).check()
    await page.getByText('16,384 of').waitFor()
    await page.locator('.page button', { hasText: /^sea$/ }).first().click()
    const place = page.locator('.places li').first()
    const at = Number((await place.locator('.at').innerText()).replaceAll(',', ''))
    await place.getByRole('button').click()
    await page.locator(`.page button.self[data-place="${at - 1}"]`).waitFor()
    expect(await page.locator(`[data-place="${at - 1}"]`).innerText()).toMatch(/^sea$/i)
  })

  test('is read with the keyboard alone', async () => {
    const opened = await visit()
    const { page } = opened
    await chooseSmall(opened)
    await page.locator('.page button[tabindex="0"]').focus()
    await page.keyboard.press('ArrowRight')
    await page.keyboard.press('ArrowRight')
    expect(await page.evaluate('document.activeElement.dataset.place')).toBe('2')
    await page.keyboard.press('Enter')
    await page.locator('.page button[data-place="2"][aria-pressed="true"]').waitFor()
  })
})

describe('a text of one’s own', () => {
  async function paste(opened: Visit, own: string): Promise<void> {
    await opened.page.getByRole('radio', { name: 'Your own' }).check()
    await opened.page.getByRole('textbox').fill(own)
    await opened.page.getByRole('button', { name: 'Use this text' }).click()
  }

  test('markup in it stays text', async () => {
    const opened = await visit()
    const { page } = opened
    await paste(opened, 'one <script>window.hacked = 1</script> <img src=x onerror="window.hacked = 2"> one two one')
    await page.locator('.page').getByText('one').first().click()
    await page.locator('.places li').first().waitFor()
    expect(await page.locator('.page').innerText()).toContain(
      '<script>window.hacked = 1</script> <img src=x onerror="window.hacked = 2">',
    )
    expect(await page.evaluate('window.hacked')).toBeUndefined()
    await page.getByRole('button', { name: 'Run attention' }).click()
    await page.getByText(/^Done in/).waitFor()
    await expectSound(opened)
  })

  test('may be empty, or one word, or Korean', async () => {
    const opened = await visit({ language: 'ko-KR' })
    const { page } = opened
    await page.getByRole('radio', { name: '내 텍스트' }).check()
    await page.getByText('아직 단어가 없어요').waitFor()
    const use = async (own: string): Promise<void> => {
      await page.getByRole('textbox').fill(own)
      await page.getByRole('button', { name: '이 텍스트 쓰기' }).click()
    }
    await use('… !? …')
    await page.getByText('아직 단어가 없어요').waitFor()
    await use('고래')
    await page.locator('.plan').waitFor()
    await page.locator('.page').getByText('고래').click()
    await page.getByRole('button', { name: '실행하기' }).click()
    await page.getByText(/만에 끝났어요/).waitFor()
    await use('나는 고래를 보았다. 그리고 그 고래를 다시 보았다. 바다는 넓었다.')
    await page.locator('.page').getByText('고래를').first().click()
    await page.locator('.places mark', { hasText: '고래를' }).waitFor()
    await expectSound(opened)
    await shoot(opened, 'book-korean')
  })

  test('may be Chinese, whose words have no spaces between them', async () => {
    const opened = await visit()
    const { page } = opened
    await paste(opened, '我们今天去学校学习。学校里有很多学生，学生们都在学习。')
    await page
      .locator('.page button', { hasText: /^学校$/ })
      .first()
      .click()
    await page.locator('.places mark', { hasText: '学校' }).waitFor()
    expect(await page.locator('.page').innerText()).toBe('我们今天去学校学习。学校里有很多学生，学生们都在学习。')
    await expectSound(opened)
  })

  test('that is no text is refused', async () => {
    const opened = await visit()
    const { page } = opened
    await page.getByRole('radio', { name: 'Your own' }).check()
    const open = (bytes: readonly number[]): Promise<void> =>
      page
        .locator('input[type="file"]')
        .setInputFiles({ name: 'photo.txt', mimeType: 'text/plain', buffer: Buffer.from(bytes) })
    await open([0xff, 0xd8, 0xff, 0xe0, 0, 16, 74, 70])
    await page.getByRole('alert').getByText('expected a text in UTF-8').waitFor()
    // “바다” in UTF-16, as some editors save it.
    await open([0xff, 0xfe, 0x14, 0xbc, 0xe4, 0xb2])
    await page.locator('.page').getByText('바다').waitFor()
    await expectSound(opened)
  })

  test('of ten megabytes is read without a pause, as far as asked', async () => {
    const file = join(await mkdtemp(join(tmpdir(), 'heddle-page-')), 'large.txt')
    await writeFile(file, Buffer.alloc(10_000_000, 'so many words '))
    const opened = await visit()
    const { page } = opened
    await page.locator('.plan').waitFor()
    await chooseSmall(opened)
    await page.getByRole('radio', { name: 'Your own' }).check()
    const open = async (): Promise<void> => {
      await page.locator('input[type="file"]').setInputFiles(file)
      await page.getByText('4,096 of').waitFor()
    }
    expectNoLongTask(await traceMainThread(opened, open))
  })
})

describe('a tab that cannot do everything', () => {
  test('without isolation: copies, which it says', async () => {
    const opened = await visit({ isolated: false })
    await runSmall(opened)
    expect(await opened.page.locator('footer').innerText()).toContain('not cross-origin isolated')
    await expectSound(opened)
  })

  test.each([
    ['workers', 'delete window.Worker', 'Web Workers did not start'],
    ['simd', 'WebAssembly.validate = () => false', 'WebAssembly SIMD is missing'],
  ])('without %s: a page that says what is missing', async (name, before, message) => {
    const opened = await visit({ before })
    await opened.page.getByRole('alert').getByText(message).waitFor()
    await expectSound(opened)
    await shoot(opened, `missing-${name}`)
  })
})
