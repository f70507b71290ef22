import type { ParseArgsConfig } from 'node:util'
import type { Terminal } from './terminal/terminal.ts'

/** What every exit status of `heddle` means. */
export const EXIT = { ok: 0, failedCheck: 1, usage: 2, interrupted: 130 } as const

/** One option of a command, as `--help` lists it and `parseArgs` reads it. */
export interface CommandOption {
  readonly type: 'string' | 'boolean'
  /** What stands for the value in the help: `--tokens N|all`. */
  readonly value?: string
  readonly summary: string
}

/** Options as given, each under its name without dashes. */
export type OptionValues = Readonly<Record<string, string | boolean | undefined>>

/** What a command is given: nothing that it says or reads goes past it. */
export interface CommandContext {
  readonly values: OptionValues
  readonly positionals: readonly string[]
  readonly terminal: Terminal
  /** aborts on SIGINT */
  readonly signal: AbortSignal
}

/** A subcommand of `heddle`. */
export interface Command {
  readonly name: string
  readonly summary: string
  /** after the name in the usage line */
  readonly operands?: string
  readonly options: Readonly<Record<string, CommandOption>>
  /** lines below the options */
  readonly notes?: readonly string[]
  /** @returns the exit status; throws {@link UsageError} for arguments that do not fit */
  run(context: CommandContext): Promise<number>
}

/** The options in the form of `parseArgs`. */
export function parseOptions(command: Command): NonNullable<ParseArgsConfig['options']> {
  const entries = Object.entries(command.options).map(([name, { type }]) => [name, { type }] as const)
  return { ...Object.fromEntries(entries), help: { type: 'boolean', short: 'h' } }
}
