import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { Redis } from 'ioredis'

/** Whether there is a Redis server to test against. Where it is required, tests run and say what is missing. */
export const hasRedis =
  process.env['HEDDLE_REQUIRE_REDIS'] === '1' || spawnSync('redis-server', ['--version']).status === 0

if (!hasRedis) console.warn('tests/fleet: skipped, since there is no redis-server (apt-get install redis-server)')

/**
 * A Redis server of its own on a free port of 127.0.0.1. What a durable one holds survives a power cut, at an fsync per
 * command.
 */
export class RedisServer {
  readonly url: string
  readonly #port: number
  readonly #isDurable: boolean
  readonly #folder: string
  #process: ChildProcess | undefined

  private constructor(port: number, folder: string, isDurable: boolean) {
    this.#isDurable = isDurable
    this.#port = port
    this.#folder = folder
    this.url = `redis://127.0.0.1:${port}`
  }

  static async start({ isDurable = false } = {}): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), await mkdtemp(path.join(os.tmpdir(), 'heddle-redis-')), isDurable)
    await server.up()
    return server
  }

  async up(): Promise<void> {
    const durable = this.#isDurable ? ['--appendonly', 'yes', '--appendfsync', 'always'] : []
    const args = ['--port', `${this.#port}`, '--bind', '127.0.0.1', '--dir', this.#folder, '--save', '', ...durable]
    this.#process = spawn('redis-server', args, { stdio: 'ignore' })
    const client = this.client()
    await client.ping()
    client.disconnect()
  }

  /** Ends the server as a power cut would. */
  async down(): Promise<void> {
    const ended = new Promise((resolve) => this.#process?.once('exit', resolve))
    this.#process?.kill('SIGKILL')
    await ended
  }

  /** A connection that waits for the server. */
  client(): Redis {
    const client = new Redis(this.url, { maxRetriesPerRequest: null, retryStrategy: () => 20 })
    client.on('error', () => undefined)
    return client
  }

  async stop(): Promise<void> {
    await this.down()
    await rm(this.#folder, { recursive: true, force: true })
  }
}

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}
