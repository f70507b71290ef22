import { describe, expect, it } from 'vitest'
import { heddle } from './heddle.ts'

describe('heddle', () => {
  it('prints its version', async () => {
    const { status, out } = await heddle(['--version'])
    expect(status).toBe(0)
    expect(out).toMatch(/^\d+\.\d+\.\d+\n$/)
  })

  it.each([['--help'], ['help'], ['-h']])('lists its commands for %s', async (argument) => {
    const { status, out, err } = await heddle([argument])
    expect(status).toBe(0)
    expect(err).toBe('')
    for (const name of ['run', 'bench', 'doctor', '--version']) expect(out).toContain(name)
  })

  it('without arguments prints the help as an error', async () => {
    const { status, out, err } = await heddle([])
    expect(status).toBe(2)
    expect(out).toBe('')
    expect(err).toContain('Usage: heddle <command>')
  })

  it.each(['run', 'bench', 'doctor'])('%s --help lists its options', async (name) => {
    const { status, out } = await heddle([name, '--help'])
    expect(status).toBe(0)
    expect(out).toContain(`Usage: heddle ${name}`)
    expect(out).toContain('--json')
  })

  it.each([
    { args: ['bnech'], says: "unknown command 'bnech'; did you mean 'bench'?" },
    { args: ['--verison'], says: "unknown option '--verison'" },
    { args: ['run', '--token', '9'], says: "unknown option '--token'; did you mean '--tokens'?" },
    { args: ['run', '--tokens', 'many'], says: "--tokens: expected an integer of 2 or more, got 'many'" },
    { args: ['run', '--tokens', '1'], says: "--tokens: expected an integer of 2 or more, got '1'" },
    { args: ['run', '--tokens=1e4'], says: '--tokens: expected an integer' },
    { args: ['run', '--chunk-size', '0'], says: "--chunk-size: expected an integer of 1 or more, got '0'" },
    { args: ['run', '--workers', '257'], says: "--workers: expected an integer from 0 to 256, got '257'" },
    { args: ['run', '--workers'], says: '--workers' },
    { args: ['run', 'book.txt'], says: "unexpected argument 'book.txt'" },
    {
      args: ['run', '--text', 'no/such/file'],
      says: "--text: expected a file that can be read, got 'no/such/file' (ENOENT)",
    },
    {
      args: ['run', '--out', 'package.json/report'],
      says: "--out: expected a folder that can be written, got 'package.json/report' (ENOTDIR)",
    },
    {
      args: ['bench', '--out', 'package.json'],
      says: "--out: expected a folder that can be written, got 'package.json' (EEXIST)",
    },
    { args: ['bench', 'compare', 'a.json'], says: 'compare: expected two files' },
    { args: ['bench', 'compare', 'no.json', 'no.json'], says: "got 'no.json'" },
    { args: ['bench', '--tokens', '128,,256'], says: '--tokens: expected an integer' },
    { args: ['bench', '--case-seconds', '0'], says: "--case-seconds: expected a number above 0, got '0'" },
    { args: ['bench', '--quick', '--fail-above', '5'], says: "--fail-above: expected it with 'compare' only" },
    { args: ['doctor', '--jsno'], says: "did you mean '--json'?" },
  ])('heddle $args ends with status 2 and says why', async ({ args, says }) => {
    const { status, out, err } = await heddle(args)
    expect(err).toContain(says)
    expect(err).toContain('--help')
    expect(err).not.toMatch(/\n\s+at /)
    expect(out).toBe('')
    expect(status).toBe(2)
  })
})
