import { expect, test } from 'vitest'
import { usePage } from './support/use-page.ts'

const visit = usePage()
const VIEWS = ['book', 'train', 'heads', 'positions', 'bench'] as const

test('has a strict policy, which stops inline scripts and other hosts', async () => {
  const { page, problems } = await visit({ view: 'positions' })
  await page.locator('.plot').first().waitFor()
  const policy = await page.locator('meta[http-equiv="Content-Security-Policy"]').getAttribute('content')
  expect(policy?.split('; ').sort()).toEqual([
    "base-uri 'none'",
    "connect-src 'self'",
    "default-src 'none'",
    "form-action 'none'",
    "img-src 'self' data:",
    "script-src 'self' 'wasm-unsafe-eval'",
    "style-src 'self'",
    "worker-src 'self'",
  ])
  expect(problems).toEqual([])
  const attempts = await page.evaluate(async () => {
    const script = document.createElement('script')
    script.textContent = 'window.hacked = true'
    document.body.append(script)
    const fetched = await fetch('https://example.org/').then(
      () => 'fetched',
      () => 'refused',
    )
    return { ran: 'hacked' in window, fetched }
  })
  expect(attempts).toEqual({ ran: false, fetched: 'refused' })
  expect(problems.join('\n')).toMatch(/inline script/)
})

test('asks no other host for anything, in any view', async () => {
  const { page, problems, elsewhere } = await visit()
  const work = {
    book: '.plan',
    train: '.go:enabled',
    heads: '.role-table',
    positions: '.plot path.curve',
    bench: '.go:enabled',
  }
  for (const view of VIEWS) {
    await page.evaluate((name) => (location.hash = `#/${name}`), view)
    await page.locator(work[view]).first().waitFor({ state: 'attached' })
  }
  expect(elsewhere).toEqual([])
  expect(problems).toEqual([])
})

test('markup that is written into the input of a model stays text', async () => {
  const { page, problems } = await visit({ view: 'heads' })
  await page.getByRole('textbox', { name: 'Input' }).fill('<img src=x onerror=hacked=1><script>hacked=1</script>')
  await page.getByText('The model has no token for “<”').waitFor()
  expect(await page.locator('main img, main script').count()).toBe(0)
  expect(await page.evaluate('"hacked" in window')).toBe(false)
  expect(problems).toEqual([])
})
