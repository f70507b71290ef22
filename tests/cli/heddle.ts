import { spawn, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** The shipped command, as npm links it. */
const FILE = fileURLToPath(new URL('../../dist/cli.js', import.meta.url))

export interface Ended {
  readonly status: number | null
  readonly out: string
  readonly err: string
}

export interface HeddleOptions {
  readonly cwd?: string
  readonly onStart?: (child: ChildProcess) => void
}

/** Runs `heddle` as a user does, in a process of its own. */
export function heddle(args: readonly string[], { cwd, onStart }: HeddleOptions = {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [FILE, ...args], {
      ...(cwd === undefined ? {} : { cwd }),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let out = ''
    let err = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text))
    child.once('error', reject)
    child.once('close', (status) => resolve({ status, out, err }))
    onStart?.(child)
  })
}
