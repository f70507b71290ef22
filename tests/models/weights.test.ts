import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { FormatError, NumericError, type Tensor } from 'heddle'
import { loadModel, type ModelSource } from 'heddle/models'
import { readStateDict } from 'heddle/nn'
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { checksum } from './support/checksum.ts'
import { changedFolder, configOf, folderOf, weightsFile } from './support/hub-folders.ts'

const weightsOf = (name: string, file = 'model.safetensors') =>
  readStateDict(Uint8Array.from(readFileSync(`${folderOf(name)}/${file}`)))
async function withWeights(
  name: string,
  change: (state: Record<string, { data: Float32Array; shape: readonly number[] }>) => void,
): Promise<ModelSource> {
  const state = { ...(await weightsOf(name)) } as Record<string, Tensor>
  change(state)
  return changedFolder(name, { 'model.safetensors': weightsFile(state) })
}

interface TensorHeader {
  readonly shape: number[]
  data_offsets: [number, number]
}

describe('weights', () => {
  test('missing, unexpected and misshapen tensors are all named', async () => {
    const missing = await withWeights('bert', (state) => {
      delete state['encoder.layer.1.output.dense.bias']
      delete state['embeddings.LayerNorm.weight']
    })
    await expect(loadModel(missing)).rejects.toThrow(
      /missing embeddings\.LayerNorm\.weight, encoder\.layer\.1\.output\.dense\.bias$/,
    )
    const others = await withWeights('bert', (state) => {
      state['encoder.layer.2.output.dense.bias'] = { data: new Float32Array(16), shape: [16] }
      state['embeddings.LayerNorm.bias'] = { data: new Float32Array(8), shape: [8] }
    })
    await expect(loadModel(others)).rejects.toThrow(
      /embeddings\.LayerNorm\.bias \(expected \[16\], got \[8\]\).*unexpected encoder\.layer\.2\.output\.dense\.bias/,
    )
  })

  test('of another model', async () => {
    const other = changedFolder('bert', {
      'model.safetensors': Uint8Array.from(readFileSync(`${folderOf('distilbert')}/model.safetensors`)),
    })
    await expect(loadModel(other)).rejects.toThrow(
      /expected model\.safetensors to hold tensors of the bert model .*unexpected distilbert\.transformer\.layer\.0/,
    )
  })

  test('old names of layer norms', async () => {
    const renamed = await withWeights('bert', (state) => {
      for (const name of Object.keys(state).filter((each) => each.includes('LayerNorm'))) {
        state[`bert.${name.replace('.weight', '.gamma').replace('.bias', '.beta')}`] = state[name]!
        delete state[name]
      }
    })
    expect(await checksum(renamed)).toBe(await checksum(folderOf('bert')))
  })

  test('shards that are missing, that belong elsewhere, or that no index names', async () => {
    const shard = 'model-00002-of-00002.safetensors'
    await expect(loadModel(changedFolder('roberta', { [shard]: null }))).rejects.toThrow(
      /expected model-00002-of-00002\.safetensors in the source, found none, though model\.safetensors\.index\.json names it/,
    )
    const swapped = Uint8Array.from(readFileSync(`${folderOf('roberta')}/model-00001-of-00002.safetensors`))
    await expect(loadModel(changedFolder('roberta', { [shard]: swapped }))).rejects.toThrow(
      /to hold the tensors that model\.safetensors\.index\.json lists for it; it differs in/,
    )
    await expect(loadModel(changedFolder('roberta', { 'model.safetensors.index.json': null }))).rejects.toThrow(
      /expected model\.safetensors in the source, found none/,
    )
    await expect(
      loadModel(changedFolder('roberta', { 'model.safetensors.index.json': { weight_map: { a: 3 } } })),
    ).rejects.toThrow(/to have a weight_map from names to files/)
    const less = { weight_map: { 'roberta.embeddings.word_embeddings.weight': shard } }
    await expect(loadModel(changedFolder('roberta', { 'model.safetensors.index.json': less }))).rejects.toThrow(
      /missing embeddings\.position_embeddings\.weight, /,
    )
  })

  test('of types that are not supported', async () => {
    const bytes = Uint8Array.from(readFileSync(`${folderOf('bert')}/model.safetensors`))
    const typed = (type: string) => {
      const text = new TextDecoder('latin1').decode(bytes).replace('"dtype":"F32"', `"dtype":"${type}"`)
      return changedFolder('bert', { 'model.safetensors': Uint8Array.from(text, (each) => each.charCodeAt(0)) })
    }
    await expect(loadModel(typed('U32'))).rejects.toThrow(
      /"embeddings\.word_embeddings\.weight" to have a dtype among .*, got "U32"/,
    )
    await expect(loadModel(typed('I32'))).rejects.toThrow(
      /embeddings\.word_embeddings\.weight \(expected a dtype among F64, F32, F16, BF16, got I32\)/,
    )
  })

  test('in files that are something else, named', async () => {
    const shard = 'model-00002-of-00002.safetensors'
    const others: readonly (readonly [string, RegExp])[] = [
      ['', /model-00002-of-00002\.safetensors: .*expected 8 bytes of the header length, but the file ends after 0/],
      ['<!doctype html><title>Not found</title>', /model-00002-of-00002\.safetensors: .*expected a header of at most/],
      ['version https://git-lfs.github.com/spec/v1\n', /model-00002-of-00002\.safetensors: .*a Git LFS pointer/],
    ]
    for (const [content, message] of others) {
      const call = loadModel(changedFolder('roberta', { [shard]: content }))
      await expect(call).rejects.toThrow(message)
      await expect(call).rejects.toBeInstanceOf(FormatError)
    }
  })

  describe('of files whose sizes are made up', () => {
    const real = globalThis.SharedArrayBuffer
    const made: number[] = []
    beforeEach(() => {
      made.length = 0
      const construct = (target: typeof real, [bytes]: [number]): SharedArrayBuffer => {
        made.push(bytes)
        return new target(bytes)
      }
      globalThis.SharedArrayBuffer = new Proxy(real, { construct })
    })
    afterEach(() => {
      globalThis.SharedArrayBuffer = real
    })

    const vocabulary = 2 ** 25
    const config = { ...configOf('bert'), vocab_size: vocabulary }
    /** The folder's file, whose header names a token table of 2 GiB, as the config does. */
    const boastful = (): Uint8Array => {
      const file = readFileSync(`${folderOf('bert')}/model.safetensors`)
      const end = 8 + file.readUInt32LE(0)
      const header = JSON.parse(file.subarray(8, end).toString()) as Record<string, TensorHeader>
      const grown = 64 * (vocabulary - 30)
      for (const [name, entry] of Object.entries(header)) {
        const first = name === 'embeddings.word_embeddings.weight'
        if (first) entry.shape[0] = vocabulary
        entry.data_offsets = entry.data_offsets.map((at, side) => at + (first && side === 0 ? 0 : grown)) as never
      }
      const text = Buffer.from(JSON.stringify(header))
      const length = Buffer.alloc(8)
      length.writeUInt32LE(text.length)
      return Uint8Array.from(Buffer.concat([length, text, file.subarray(end)]))
    }

    test.each<[string, (bytes: Uint8Array<ArrayBuffer>) => ModelSource | Promise<ModelSource>]>([
      ['bytes', (bytes) => changedFolder('bert', { 'config.json': config, 'model.safetensors': bytes })],
      [
        'a file list',
        (bytes) => [new File([JSON.stringify(config)], 'config.json'), new File([bytes], 'model.safetensors')],
      ],
      [
        'a folder',
        async (bytes) => {
          const folder = await mkdtemp(path.join(tmpdir(), 'heddle-'))
          onTestFinished(() => rm(folder, { recursive: true }))
          await writeFile(path.join(folder, 'config.json'), JSON.stringify(config))
          await writeFile(path.join(folder, 'model.safetensors'), bytes)
          return folder
        },
      ],
    ])('%s: they are compared with the file before anything is allocated', async (_name, sourceOf) => {
      const bytes = boastful()
      const call = loadModel(await sourceOf(bytes as Uint8Array<ArrayBuffer>))
      await expect(call).rejects.toThrow(
        new RegExp(`model\\.safetensors: .*expected a file of \\d{10} bytes, as its header says, got ${bytes.length}$`),
      )
      await expect(call).rejects.toBeInstanceOf(FormatError)
      expect(made).toEqual([])
    })

    test('sizes that only the config has are compared with the header before anything is allocated', async () => {
      await expect(loadModel(changedFolder('bert', { 'config.json': config }))).rejects.toThrow(
        /word_embeddings\.weight \(expected \[33554432, 16\], got \[30, 16\]\)/,
      )
      expect(made).toEqual([])
    })

    test('a file that is as long as its header says makes the parameters, one by one', async () => {
      const { transformer } = await loadModel(folderOf('bert'))
      expect(made.reduce((sum, bytes) => sum + bytes, 0)).toBe(4 * transformer.numParameters())
    })
  })

  test('that are cut short, or hold NaN', async () => {
    const bytes = Uint8Array.from(readFileSync(`${folderOf('bert')}/model.safetensors`))
    await expect(
      loadModel(changedFolder('bert', { 'model.safetensors': bytes.subarray(0, bytes.length - 10) })),
    ).rejects.toThrow(FormatError)
    const broken = await withWeights('bert', (state) => (state['embeddings.LayerNorm.bias']!.data[5] = NaN))
    const call = loadModel(broken)
    await expect(call).rejects.toThrow(/expected finite weights, got NaN at element 5 of embeddings\.LayerNorm\.bias/)
    await expect(call).rejects.toBeInstanceOf(NumericError)
    expect(await loadModel(broken, { allowNonFinite: true })).toBeDefined()
  })
})
