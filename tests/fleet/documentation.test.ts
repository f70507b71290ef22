import { execFile } from 'node:child_process'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { hasRedis, RedisServer } from './support/redis-server.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
/** Inside the package, where `heddle` means the package itself. */
const FOLDER = path.join(ROOT, 'build', 'documentation-fleet')

describe.skipIf(!hasRedis)('docs/fleet.md', () => {
  test('its program runs', async () => {
    const text = await readFile(path.join(ROOT, 'docs/fleet.md'), 'utf8')
    const [, source] = /^```js\n([\s\S]*?)^```$/m.exec(text) ?? []
    const server = await RedisServer.start()
    await mkdir(path.join(FOLDER, 'data'), { recursive: true })
    await writeFile(path.join(FOLDER, 'call.mjs'), source!)
    const { stdout, stderr } = await promisify(execFile)(process.execPath, ['call.mjs'], {
      cwd: FOLDER,
      env: { ...process.env, HEDDLE_REDIS_URL: server.url },
    })
    await rm(FOLDER, { recursive: true, force: true })
    await server.stop()
    expect(stderr).toBe('')
    expect(stdout).toBe('[ 3000, 64 ] [ 10, 64 ] 3 jobs\n')
  })
})
