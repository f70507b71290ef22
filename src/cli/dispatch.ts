import { parseArgs } from 'node:util'
import { HeddleError } from '../index.ts'
import { EXIT, parseOptions, type Command, type CommandContext } from './command.ts'
import { commandHelp, generalHelp } from './help.ts'
import type { Terminal } from './terminal/terminal.ts'
import { nearestName, UsageError } from './usage-error.ts'

/** What the surroundings give to a call of `heddle`. */
export interface Surroundings {
  readonly commands: readonly Command[]
  readonly version: string
  readonly terminal: Terminal
  readonly signal: AbortSignal
}

/** Runs `heddle` with these arguments. @returns the exit status; never throws */
export async function dispatch(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const { commands, version, terminal, signal } = surroundings
  const [name, ...rest] = args
  if (name === '--version' || name === '-v') {
    terminal.line(version)
    return EXIT.ok
  }
  if (name === undefined || name === '--help' || name === '-h' || name === 'help')
    return help(rest[0], surroundings, name === undefined)
  const command = commands.find((candidate) => candidate.name === name)
  if (command === undefined) return unknownCommand(name, surroundings)
  try {
    const { values, positionals } = parse(command, rest)
    if (values['help'] === true) {
      terminal.line(commandHelp(command))
      return EXIT.ok
    }
    return await command.run({
      values,
      positionals,
      terminal: values['json'] === true ? terminal.forJson() : terminal,
      signal,
    })
  } catch (error) {
    return failed(command, error, terminal, signal)
  }
}

function help(name: string | undefined, surroundings: Surroundings, missing: boolean): number {
  const { commands, version, terminal } = surroundings
  const command = commands.find((candidate) => candidate.name === name)
  if (name !== undefined && command === undefined) return unknownCommand(name, surroundings)
  const text = command === undefined ? generalHelp(commands, version) : commandHelp(command)
  if (missing) terminal.note(text)
  else terminal.line(text)
  return missing ? EXIT.usage : EXIT.ok
}

function unknownCommand(name: string, { commands, terminal }: Surroundings): number {
  const names = commands.map((command) => command.name)
  const near = nearestName(name, names)
  terminal.note(
    `heddle: unknown ${name.startsWith('-') ? 'option' : 'command'} '${name}'${near === undefined ? '' : `; did you mean '${near}'?`}`,
  )
  terminal.note(`There are: ${names.join(', ')}. See 'heddle --help'.`)
  return EXIT.usage
}

function parse(command: Command, args: readonly string[]): Pick<CommandContext, 'values' | 'positionals'> {
  const known = [...Object.keys(command.options), 'help']
  for (const arg of args) {
    if (arg === '--') break
    const name = /^--([^=]+)/.exec(arg)?.[1]
    if (name === undefined || known.includes(name)) continue
    const near = nearestName(name, known)
    throw new UsageError(`unknown option '--${name}'${near === undefined ? '' : `; did you mean '--${near}'?`}`)
  }
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: parseOptions(command),
      allowPositionals: true,
      strict: true,
    })
    if (command.operands === undefined && positionals[0] !== undefined)
      throw new UsageError(`unexpected argument '${positionals[0]}'`)
    return { values: values as CommandContext['values'], positionals }
  } catch (error) {
    if (error instanceof UsageError) throw error
    throw new UsageError((error as Error).message.split('. ')[0])
  }
}

function failed(command: Command, error: unknown, terminal: Terminal, signal: AbortSignal): number {
  if (signal.aborted) {
    terminal.note(`heddle ${command.name}: interrupted`)
    return EXIT.interrupted
  }
  if (error instanceof UsageError) {
    terminal.note(`heddle ${command.name}: ${error.message}`)
    terminal.note(`See 'heddle ${command.name} --help'.`)
    return EXIT.usage
  }
  terminal.note(`heddle ${command.name}: ${describeFailure(error)}`)
  return EXIT.failedCheck
}

function describeFailure(error: unknown): string {
  if (error instanceof HeddleError) return `${error.code}: ${error.message}`
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
