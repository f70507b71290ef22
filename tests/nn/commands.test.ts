import { mkdtemp, readFile, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest'
import type { GuideResult } from '../../src/cli/guide/guide-case.ts'
import type { Tour } from '../../src/cli/tour/tour-steps.ts'
import type { AttentionValidation } from '../../src/nn/validate-attention.ts'
import { heddle } from '../cli/heddle.ts'

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'heddle-tour-'))
})
afterAll(() => rm(folder, { recursive: true }))
afterEach(() => vi.unstubAllEnvs())

it('heddle tour walks through "I love you" with the known counts', async () => {
  const { status, out, err } = await heddle(['tour', '--json', '--workers', '1'], { cwd: folder })
  expect(status).toBe(0)
  const tour = JSON.parse(out) as Tour
  expect(tour.words).toEqual(['I', 'love', 'you'])
  expect(tour.attention.shapes).toEqual({
    query: [1, 3, 64],
    key: [1, 3, 64],
    value: [1, 3, 64],
    scores: [1, 3, 3],
    weights: [1, 3, 3],
    output: [1, 3, 64],
  })
  for (const sum of tour.attention.rowSums) expect(Math.abs(sum - 1)).toBeLessThan(1e-6)
  // Q = K: a word is most like itself.
  tour.attention.weights.forEach((row, index) => expect(row.indexOf(Math.max(...row))).toBe(index))
  expect(tour.multiHead.count).toBe(4 * (512 * 512 + 512))
  expect(tour.multiHead.weights).toEqual([2, 8, 4, 4])
  expect(tour.block.count).toBe(3_152_384)
  expect(tour.positions.values[0]!.slice(0, 4)).toEqual([0, 1, 0, 1])
  tour.positions.tokens.forEach(({ before, after }, position) =>
    expect(after[0]! - before[0]!).toBeCloseTo(Math.sin(position), 5),
  )
  expect(err).toContain('3,152,384')
  const svg = await readFile(path.join(folder, 'heddle-report', 'tour-positions.svg'), 'utf8')
  for (const text of ['↓ position   → dimension', '−1 to 1: value', 'Positional encoding']) expect(svg).toContain(text)
})

it('heddle tour shows shapes on request, over other words', async () => {
  const plain = await heddle(['tour', '--workers', '0', '--sentence', 'so it goes so'], { cwd: folder })
  const shapes = await heddle(['tour', '--workers', '0', '--sentence', 'so it goes so', '--shapes'], { cwd: folder })
  expect(plain.status).toBe(0)
  expect(plain.out).not.toContain('hidden')
  expect(shapes.out).toMatch(/hidden +\[1, 4, 2048\]/)
  expect((await heddle(['tour', '--sentence', ' '])).status).toBe(2)
})

const CHECKS = [
  'rows of weights sum to one',
  'shapes',
  'output = weights · V',
  'scaling divides the scores by √D',
  'permutation equivariance',
  'chunked = standard',
  'softmax does not change when all logits shift',
  'no leak from the future',
  'a row without any key is 0',
]

it('heddle validate lists nine checks, each with what it measured from inputs of its seed', async () => {
  const run = async (seed: string) => {
    const { status, out, err } = await heddle(['validate', '--json', '--seed', seed, '--workers', '1'])
    expect(status).toBe(0)
    expect(err).toContain('9 of 9 checks passed')
    return JSON.parse(out) as AttentionValidation & { seed: number }
  }
  const [seven, eight] = [await run('7'), await run('8')]
  expect(seven).toMatchObject({ format: 'heddle-validate/1', seed: 7, passed: true })
  expect(seven.checks.map(({ name }) => name)).toEqual(CHECKS)
  for (const { passed, measured, limit } of seven.checks) expect([passed, measured <= limit]).toEqual([true, true])
  expect(seven.checks.map(({ measured }) => measured)).not.toEqual(eight.checks.map(({ measured }) => measured))
})

it('heddle validate ends with status 1 where attention is wrong, and says which check failed', async () => {
  // Loaded into the command's process before it: the kernel does nothing.
  const spoil = `
    const { Instance } = WebAssembly
    WebAssembly.Instance = function (...given) {
      return { exports: { ...new Instance(...given).exports, attendTile: () => 0 } }
    }`
  vi.stubEnv('NODE_OPTIONS', `--import=data:text/javascript,${encodeURIComponent(spoil)}`)
  const { status, out } = await heddle(['validate', '--workers', '0'])
  expect(status).toBe(1)
  expect(out).toContain('✗ FAILED output = weights · V')
  expect(out).toContain('✓ shapes')
  expect(out).toMatch(/^[1-8] of 9 checks passed$/m)
})

it('heddle bench guide measures both modes of each size in its own process', async () => {
  const args = ['bench', 'guide', '--tokens', '16,48', '--case-seconds', '0.01', '--python', 'no-such-python', '--json']
  const { status, out, err } = await heddle(args, { cwd: folder })
  expect(err).toContain('Multi-head attention, d_model 512')
  expect(status).toBe(0)
  const { results, leftOut } = JSON.parse(out) as {
    results: GuideResult[]
    leftOut: { tokens: number; mode: string }[]
  }
  expect(results.map(({ tokens, mode }) => `${tokens} ${mode}`)).toEqual([
    '16 standard',
    '16 chunked',
    '48 standard',
    '48 chunked',
  ])
  for (const { medianMs, tokens, tokensPerSecond, peakBytes } of results) {
    expect(tokensPerSecond).toBeCloseTo((8 * tokens) / (medianMs / 1000), 6)
    // At least the output, and queries, keys and values.
    expect(peakBytes).toBeGreaterThan(4 * 8 * tokens * 512 * 4)
  }
  expect(leftOut).toMatchObject([
    { tokens: 16, mode: 'PyTorch' },
    { tokens: 48, mode: 'PyTorch' },
  ])
  // Two sizes make a table and no plot.
  const page = await readFile(path.join(folder, 'heddle-report', 'guide.html'), 'utf8')
  expect(page).toContain('chunked')
  expect(page).not.toContain('<svg')
})
