import { spawn, type ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { until, type FleetSite } from './fleet-site.ts'

const COMMAND = fileURLToPath(new URL('../../../dist/cli.js', import.meta.url))

/** `heddle fleet-worker` in a process of its own, and the lines that it has printed. */
export class HostProcess {
  readonly lines: string[] = []
  readonly #child: ChildProcess
  readonly #ended: Promise<number | null>

  constructor(
    site: FleetSite,
    name: string,
    onLine: (line: string, host: HostProcess) => void = () => undefined,
    more: readonly string[] = [],
  ) {
    const args = [
      'fleet-worker',
      '--queue',
      site.queue,
      '--data',
      site.folder,
      '--lanes',
      '1',
      '--name',
      name,
      '--lock-ms',
      '1000',
      ...more,
    ]
    this.#child = spawn(process.execPath, [COMMAND, ...args], {
      env: { ...process.env, HEDDLE_REDIS_URL: site.server.url },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    this.#ended = new Promise((resolve) => this.#child.once('exit', (status) => resolve(status)))
    createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      this.lines.push(line)
      onLine(line, this)
    })
  }

  /** The job of the first line with this event. */
  jobOf(event: string): string | undefined {
    return this.lines
      .map((line) => new RegExp(`^\\S+ \\S+ ${event} \\w+ (\\S+)`).exec(line)?.[1])
      .find((job) => job !== undefined)
  }

  ready(): Promise<void> {
    return until('the host is ready', () => this.lines.some((line) => line.endsWith(' ready')))
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** @returns the exit status, or null after a signal */
  async end(signal: NodeJS.Signals = 'SIGKILL'): Promise<number | null> {
    this.#child.kill(signal)
    return this.#ended
  }
}
