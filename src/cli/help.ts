import type { Command } from './command.ts'

/** `heddle --help`: what there is. */
export function generalHelp(commands: readonly Command[], version: string): string {
  const width = Math.max(...commands.map(({ name }) => name.length))
  return [
    `heddle ${version}: exact attention over long sequences`,
    '',
    'Usage: heddle <command> [options]',
    '',
    'Commands:',
    ...commands.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`),
    '',
    'Options:',
    '  -h, --help     this text, or that of a command',
    '  -v, --version  the version',
    '',
    'Exit status: 0 all is well, 1 a check failed, 2 the arguments do not fit, 130 interrupted.',
  ].join('\n')
}

/** `heddle <command> --help`. */
export function commandHelp(command: Command): string {
  const options = Object.entries({ ...command.options, help: { type: 'boolean', summary: 'this text' } as const })
  const left = options.map(([name, option]) => `--${name}${'value' in option ? ` ${option.value}` : ''}`)
  const width = Math.max(...left.map((text) => text.length))
  return [
    command.summary,
    '',
    `Usage: heddle ${command.name}${command.operands === undefined ? '' : ` ${command.operands}`} [options]`,
    '',
    'Options:',
    ...options.map(([, { summary }], index) => `  ${(left[index] ?? '').padEnd(width)}  ${summary}`),
    ...(command.notes === undefined ? [] : ['', ...command.notes]),
  ].join('\n')
}
