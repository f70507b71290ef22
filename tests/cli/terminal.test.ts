import { afterEach, describe, expect, it, vi } from 'vitest'
import { formatDuration, formatInteger, formatNumber } from '../../src/cli/terminal/format.ts'
import { ProgressBar, progressLine } from '../../src/cli/terminal/progress-bar.ts'
import { formatTable } from '../../src/cli/terminal/table.ts'
import { Terminal } from '../../src/cli/terminal/terminal.ts'

function stream(properties: { isTTY?: boolean; columns?: number } = {}) {
  const written: string[] = []
  return { ...properties, written, write: (text: string) => written.push(text) }
}

const step = { done: 3, total: 8, elapsedMs: 1500, remainingMs: 2500 }

describe('ProgressBar', () => {
  afterEach(() => vi.useRealTimers())

  it('lets time go on between two steps, until it is taken away', () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] })
    const terminal = stream({ isTTY: true, columns: 80 })
    const bar = new ProgressBar(terminal, 'attention')
    bar.update(step)
    vi.advanceTimersByTime(1000)
    expect(terminal.written.at(-1)).toContain(' 37 %  2.50 s, 1.50 s left')
    vi.advanceTimersByTime(2000)
    expect(terminal.written.at(-1)).toContain(' 37 %  4.50 s, 0.00 µs left')
    bar.clear()
    const written = terminal.written.length
    vi.advanceTimersByTime(1000)
    expect(terminal.written.length).toBe(written)
  })

  it('says that it does not know yet', () => {
    expect(progressLine('attention', { ...step, done: 0, remainingMs: NaN })).toContain('? left')
  })

  it('shows share, time and estimate', () => {
    const line = progressLine('attention', step)
    expect(line).toContain(' 37 %  1.50 s, 2.50 s left')
    expect(line).toContain('██████████▌·')
    expect(progressLine('attention', { ...step, done: 8 })).toMatch(/█{28} 100 % {2}1\.50 s$/)
  })

  it('rewrites one line on a terminal, and takes it away', () => {
    const terminal = stream({ isTTY: true, columns: 0 })
    const bar = new ProgressBar(terminal, 'attention')
    bar.update(step)
    bar.clear()
    bar.clear()
    expect(terminal.written).toEqual([`\r\u001b[2K${progressLine('attention', step)}`, '\r\u001b[2K'])
  })

  it('keeps to the width of the terminal', () => {
    const narrow = stream({ isTTY: true, columns: 20 })
    new ProgressBar(narrow, 'attention').update(step)
    expect(narrow.written[0]?.replace('\r\u001b[2K', '')).toHaveLength(19)
  })

  it('gives up its length for the figures, and then itself', () => {
    expect(progressLine('attention', step, 50)).toBe('attention ████▉········  37 %  1.50 s, 2.50 s left')
    expect(progressLine('attention', step, 50)).toHaveLength(50)
    const label = 'loss 2.381  rate 0.003  norm 0.424  18,935 tokens/s'
    expect(progressLine(label, step, 79)).toBe(`${label}  37 %  1.50 s, 2.50 s left`)
  })

  it('writes nothing elsewhere', () => {
    const file = stream()
    const bar = new ProgressBar(file, 'attention')
    bar.update(step)
    bar.clear()
    expect(file.written).toEqual([])
  })
})

describe('Terminal', () => {
  it.each([
    ['a terminal', true],
    ['a file', false],
  ])('shows what commands a terminal in place of obeying it, on %s', (_, isTTY) => {
    const [out, err] = [stream({ isTTY }), stream()]
    const terminal = new Terminal(out, err)
    const name = 'a\u001b]0;title\u0007\u001b[2J\u009b2K\rb\tc'
    const shown = 'a\\u001b]0;title\\u0007\\u001b[2J\\u009b2K\\u000db\tc'
    terminal.line(terminal.style('green', name))
    terminal.note(name)
    terminal.json({ name: '\u009b' })
    expect(out.written).toEqual([
      isTTY ? `\u001b[32m${shown}\u001b[39m\n` : `${shown}\n`,
      '{\n  "name": "\\u009b"\n}\n',
    ])
    expect(err.written).toEqual([`${shown}\n`])
  })

  it('colours on a terminal, unless NO_COLOR is set', () => {
    const out = stream({ isTTY: true })
    expect(new Terminal(out, stream()).style('green', 'x')).toBe('\u001b[32mx\u001b[39m')
    expect(new Terminal(out, stream(), { NO_COLOR: '1' }).style('green', 'x')).toBe('x')
    expect(new Terminal(stream(), stream()).style('green', 'x')).toBe('x')
  })

  it('with JSON on out, says everything else on err', () => {
    const [out, err] = [stream(), stream()]
    const terminal = new Terminal(out, err).forJson()
    terminal.line('reads well')
    terminal.json({ a: 1 })
    expect(err.written.join('')).toBe('reads well\n')
    expect(JSON.parse(out.written.join(''))).toEqual({ a: 1 })
  })
})

describe('formats', () => {
  it.each([
    [0.0042, '4.20 µs'],
    [0.42, '420 µs'],
    [12.34, '12.3 ms'],
    [999.4, '999 ms'],
    [999.6, '1.00 s'],
    [99_940, '99.9 s'],
    [187_000, '3 min 07 s'],
    [119_999, '2 min 00 s'],
    [NaN, '?'],
  ])('%d ms is %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text)
  })

  it('of numbers', () => {
    expect(formatInteger(65_536.4)).toBe('65,536')
    expect([0, 1234.5, 12.345, 0.004321, 0.00001234].map(formatNumber)).toEqual([
      '0',
      '1,235',
      '12.3',
      '0.00432',
      '1.2e-5',
    ])
  })

  it('of tables', () => {
    const lines = formatTable(
      [{ head: 'name', align: 'left' }, { head: 'ms' }],
      [
        ['a', '1'],
        ['longer', '1000'],
      ],
    )
    expect(lines).toEqual(['name      ms', '────────────', 'a          1', 'longer  1000'])
  })
})
