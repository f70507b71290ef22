import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { decodeResult, encodeResult, type BenchResult } from '../../demo/src/bench/bench-result.ts'
import { expectNoLongTask, expectSound, shoot, traceMainThread, usePage, type Visit } from './support/use-page.ts'

const visit = usePage()

const RESULT: BenchResult = {
  ...{
    format: 'heddle-page-bench/1',
    date: '2026-01-02T03:04:05.000Z',
    cores: 4,
    lanes: ['simd', 'simd'],
    isolated: true,
  },
  points: [
    { mode: 'chunked', tokens: 512, elapsedMs: 3.5, peakBytes: 2_000_000 },
    { mode: 'standard', tokens: 512, elapsedMs: 4.5, peakBytes: 5_000_000 },
  ],
}

async function measure({ page }: Visit): Promise<void> {
  await page.getByRole('radio', { name: 'up to 2,048' }).check()
  await page.getByRole('button', { name: 'Measure' }).click()
  await page.getByText('Finished. The answers agree.').waitFor({ timeout: 50_000 })
}

test('a result in an address holds its own fields only', () => {
  const [point] = RESULT.points
  // As a call returns it, with the numbers it computed: megabytes.
  const points = [{ ...point, output: new Float32Array(8) } as unknown as BenchResult['points'][number]]
  expect(decodeResult(encodeResult({ ...RESULT, points }))).toEqual({ ...RESULT, points: [point] })
})

test('measures three modes, and shares what it found as a link and a file', async () => {
  const opened = await visit({ view: 'bench' })
  const { page } = opened
  await measure(opened)
  const rows = await page.locator('tbody tr').allInnerTexts()
  expect(rows.map((row) => row.split('\t')[0])).toEqual(['512', '1,024', '2,048'])
  for (const row of rows) expect(row.match(/ms|s ·/g)?.length).toBeGreaterThanOrEqual(3)
  await expectSound(opened)
  await shoot(opened, 'bench-light-1280')
  const link = await page.getByLabel('Link to this result').inputValue()
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('button', { name: 'Save as JSON' }).click(),
  ])
  const saved = JSON.parse(await readFile(await download.path(), 'utf8')) as BenchResult
  expect(saved.points).toHaveLength(9)
  expect(decodeResult(link.split('#/bench/')[1] ?? '')?.points).toEqual(saved.points)
  // The matrix of 2,048 tokens alone has 16 MiB; chunked mode stays far below.
  const bytes = (mode: string): number =>
    saved.points.find((point) => point.mode === mode && point.tokens === 2048)?.peakBytes ?? NaN
  expect(bytes('standard')).toBeGreaterThan(2 ** 24)
  expect(bytes('tfjs')).toBeGreaterThan(2 ** 24)
  expect(bytes('chunked')).toBeLessThan(2 ** 24)
})

test('keeps the main thread free while it measures', async () => {
  const opened = await visit({ view: 'bench' })
  await opened.page.getByRole('button', { name: 'Measure', disabled: false }).waitFor()
  expectNoLongTask(await traceMainThread(opened, () => measure(opened)))
})

test.each([['dark', 375]] as const)(
  'a link shows what another machine measured (%s, %i pixels)',
  async (theme, width) => {
    const opened = await visit({ view: `bench/${encodeResult(RESULT)}`, theme, width })
    await opened.page.getByText('Measured on another machine on 2026-01-02').waitFor()
    const cells = await opened.page.locator('tbody td').allInnerTexts()
    expect(cells.map((cell) => cell.replaceAll(/\s+/g, ' '))).toEqual([
      '512',
      '3.50 ms 1.91 MiB',
      '4.50 ms 4.77 MiB',
      '–',
    ])
    await expectSound(opened)
    await shoot(opened, `bench-${theme}-${width}`)
  },
)

test.each([
  ['a link that was cut off', encodeResult(RESULT).slice(0, 60)],
  ['something else', btoa('{"format":"heddle-page-bench/1","points":[{}]}')],
])('%s is said to be none', async (_, rest) => {
  const opened = await visit({ view: `bench/${rest}` })
  await opened.page.getByText('The link holds no result.').waitFor()
  await expectSound(opened)
})

test('stops when asked, and keeps what was measured', async () => {
  const opened = await visit({ view: 'bench' })
  const { page } = opened
  await page.getByRole('button', { name: 'Measure' }).click()
  await page.locator('tbody tr').first().waitFor()
  await page.getByRole('button', { name: 'Stop' }).click()
  await page.getByText('What was measured stays').waitFor()
  expect(await page.locator('tbody tr').count()).toBeGreaterThan(0)
  await expectSound(opened)
})
