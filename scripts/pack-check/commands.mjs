import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const execute = promisify(execFile)
const TIMEOUT_MS = 240_000

/** Runs a program to its end. @returns what it wrote; @throws with its output when it fails */
export async function run(program, args, options = {}) {
  try {
    const { stdout, stderr } = await execute(program, args, { timeout: TIMEOUT_MS, maxBuffer: 2 ** 26, ...options })
    return { stdout, stderr }
  } catch (error) {
    throw new Error(
      `${program} ${args.join(' ')} failed (${error.signal ?? error.code})\n${error.stdout ?? ''}\n${error.stderr ?? ''}`,
    )
  }
}

/** npm without its own environment: `npm run` passes settings down that do not fit another folder. */
export function npm(args, cwd) {
  const environment = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^npm_(lifecycle|package|config_local)/.test(name)),
  )
  return run('npm', ['--no-audit', '--no-fund', '--loglevel=error', ...args], {
    cwd,
    env: environment,
    shell: process.platform === 'win32',
  })
}

export function assert(condition, message) {
  if (!condition) throw new Error(message)
}
