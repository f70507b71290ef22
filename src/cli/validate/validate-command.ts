import { createRuntime } from '../../index.ts'
import { validateAttention } from '../../nn/index.ts'
import { EXIT, type Command, type CommandContext } from '../command.ts'
import { flag, integerOption, workersOption, WORKERS } from '../option-values.ts'

export const validateCommand: Command = {
  name: 'validate',
  summary: 'runs nine correctness checks on this machine',
  options: {
    seed: { type: 'string', value: 'N', summary: 'seed of the inputs (default: 0)' },
    workers: WORKERS,
    json: { type: 'boolean', summary: 'print the findings as JSON' },
  },
  notes: ['Status 1 when a check fails.'],
  run: validate,
}

async function validate({ values, terminal }: CommandContext): Promise<number> {
  const seed = integerOption(values, 'seed', 0) ?? 0
  const runtime = await createRuntime({ workers: workersOption(values) })
  try {
    const { passed, checks } = await validateAttention({ runtime, seed })
    for (const check of checks) {
      const mark = check.passed ? terminal.style('green', '✓') : terminal.style('red', '✗ FAILED')
      terminal.line(
        `${mark} ${check.name}: ${measure(check.measured)} of ${measure(check.limit)} allowed (${check.detail})`,
      )
    }
    terminal.line()
    terminal.line(`${checks.filter((check) => check.passed).length} of ${checks.length} checks passed`)
    if (flag(values, 'json')) terminal.json({ format: 'heddle-validate/1', seed, passed, checks })
    return passed ? EXIT.ok : EXIT.failedCheck
  } finally {
    await runtime.close()
  }
}

function measure(value: number): string {
  return value === 0 || Number.isNaN(value) ? String(value) : value.toExponential(1)
}
