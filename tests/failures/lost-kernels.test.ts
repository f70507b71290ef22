import type * as heddle from 'heddle'
import { cp, rm } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { tensor } from 'heddle'
import { afterEach, describe, expect, it } from 'vitest'

const copy = fileURLToPath(new URL(`../../build/without-kernels-${process.pid}`, import.meta.url))
const same = tensor(new Float32Array(300 * 8), [300, 8])
const inputs = { query: same, key: same, value: tensor(new Float32Array(300 * 8).fill(3), [300, 8]) }

/** The package without the files of one set of kernels, as a server may fail to give them out. */
async function without(set: string): Promise<typeof heddle> {
  await cp(fileURLToPath(new URL('../../dist', import.meta.url)), `${copy}/${set}`, {
    recursive: true,
    filter: (file) => !file.includes(`binary-${set}-`) && !/cli\.js$|\.d\.ts$/.test(file),
  })
  return (await import(`${copy}/${set}/index.js`)) as typeof heddle
}

describe('a package whose kernels cannot be fetched', () => {
  afterEach(() => rm(copy, { recursive: true, force: true }))

  it('has no runtime without those of attention, and says which file is missing', async () => {
    const lost = await without('attention')
    await expect(lost.createRuntime({ workers: 1 })).rejects.toMatchObject({
      code: 'BackendUnavailableError',
      message: expect.stringMatching(
        /^kernels: expected to load attention-\w+, but the host refused: .*binary-/,
      ) as string,
    })
  })

  it('has attention without those of gradients, whose calls fail alone', async () => {
    const lost = await without('gradients')
    const runtime = await lost.createRuntime({ workers: 1 })
    try {
      const { output, logSumExp } = await runtime.attention(inputs, { chunkSize: 100, returnLogSumExp: true })
      const backward = runtime.attentionBackward({ ...inputs, output, logSumExp, dOutput: output })
      await expect(backward).rejects.toMatchObject({
        code: 'BackendUnavailableError',
        message: expect.stringMatching(/^kernels: expected to load gradients-/) as string,
      })
      const again = await runtime.attention(inputs, { chunkSize: 100 })
      expect(again.output.data.every((each) => Math.abs(each - 3) < 1e-6)).toBe(true)
    } finally {
      await runtime.close()
    }
  })
})
