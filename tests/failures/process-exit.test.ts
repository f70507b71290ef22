import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const run = promisify(execFile)

/** A script in a fresh process, in the package's own folder so that it finds `heddle`. */
async function runScript(script: string): Promise<string> {
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', script], { timeout: 20_000 })
  return stdout.trim()
}

const call = `
  const data = Float32Array.from({ length: 64 }, (_, at) => Math.sin(at))
  const same = { data, shape: [8, 8] }
  const inputs = { query: same, key: same, value: same }`

test('a script that forgets close() still ends, and only after its answer', async () => {
  const script = `import { createRuntime } from 'heddle'\n${call}
    const runtime = await createRuntime({ workers: 2 })
    const { output } = await runtime.attention(inputs)
    console.log(output.data.length)`
  expect(await runScript(script)).toBe('64')
})

test('so does one that uses the default runtime', async () => {
  expect(
    await runScript(`import { attention } from 'heddle'\n${call}
    console.log((await attention(inputs)).output.shape.join())`),
  ).toBe('8,8')
})

test('importing starts no worker and no timer', async () => {
  const script =
    "await import('heddle')\nconsole.log(process.getActiveResourcesInfo().filter((name) => /Worker|Port|Time/.test(name)).length)"
  expect(await runScript(script)).toBe('0')
})

test('closing during a call leaves no unhandled rejection', async () => {
  const script = `import { createRuntime } from 'heddle'\n${call}
    process.on('unhandledRejection', (reason) => console.log('unhandled', reason))
    const runtime = await createRuntime({ workers: 2 })
    const pending = runtime.attention(inputs, { chunkSize: 1 }).then(() => 'done', (error) => error.code)
    await runtime.close()
    console.log(await pending)`
  expect(await runScript(script)).toMatch(/^(RuntimeClosedError|done)$/)
})
