import { readFileSync } from 'node:fs'
import { MemoryBudgetError, OptionError } from 'heddle'
import { loadModel, planModel, type LoadProgress, type ModelSource } from 'heddle/models'
import { describe, expect, test } from 'vitest'
import { checksum } from './support/checksum.ts'
import { changedFolder, folderOf } from './support/hub-folders.ts'

describe('where files come from', () => {
  const files = [
    'config.json',
    'model-00001-of-00002.safetensors',
    'model-00002-of-00002.safetensors',
    'model.safetensors.index.json',
  ]

  test('a folder, a function, a list of files and streams give the same model', async () => {
    const expected = await checksum(folderOf('roberta'))
    expect(await checksum(changedFolder('roberta', {}))).toBe(expected)
    const listed = files.map((name) => new File([readFileSync(`${folderOf('roberta')}/${name}`)], name))
    expect(await checksum(listed)).toBe(expected)
    // A directory input tells files of the same name apart by their paths.
    const inFolder = listed.map((file) =>
      Object.defineProperty(file, 'webkitRelativePath', { value: `roberta/${file.name}` }),
    )
    expect(await checksum([new File(['{}'], 'config.json'), ...inFolder])).toBe(expected)
    const source = changedFolder('roberta', {})
    const streams: ModelSource = (name) => {
      const bytes = source(name)
      return Promise.resolve(bytes === null ? undefined : new Blob([bytes as Uint8Array<ArrayBuffer>]).stream())
    }
    expect(await checksum(streams)).toBe(expected)
  })

  test('an address, through fetch', async () => {
    const asked: string[] = []
    const original = globalThis.fetch
    globalThis.fetch = ((url: URL) => {
      asked.push(String(url))
      const bytes = changedFolder('bert', {})(String(url).split('/').at(-1)!)
      return Promise.resolve(
        bytes === null ? new Response('', { status: 404 }) : new Response(bytes as Uint8Array<ArrayBuffer>),
      )
    }) as typeof fetch
    try {
      expect(await checksum('https://example.org/models/bert')).toBe(await checksum(folderOf('bert')))
      expect(asked[0]).toBe('https://example.org/models/bert/config.json')
      globalThis.fetch = () => Promise.resolve(new Response('', { status: 503 }))
      await expect(loadModel(new URL('https://example.org/bert/'))).rejects.toThrow(
        /expected config.json from https:\/\/example.org\/bert\/, got HTTP status 503/,
      )
    } finally {
      globalThis.fetch = original
    }
  })

  test('anything else is refused', async () => {
    await expect(loadModel(7 as never)).rejects.toThrow(
      /expected a folder, an address, a list of files or a function, got number 7/,
    )
    await expect(loadModel(['config.json'] as never)).rejects.toThrow(
      /expected a list of files, got "config.json" in it/,
    )
    await expect(loadModel('/no/such/folder')).rejects.toThrow(/expected config.json in \/no\/such\/folder, found none/)
    await expect(loadModel(folderOf('bert'), { budget: 1 } as never)).rejects.toThrow(OptionError)
    await expect(loadModel(folderOf('bert'), { ignoreConfig: 'a' } as never)).rejects.toThrow(
      /expected a list of names/,
    )
    await expect(loadModel(folderOf('bert'), { tokenizer: {} as never })).rejects.toThrow(
      /expected an object with encode\(text, special\)/,
    )
  })
})

describe('before and while weights are read', () => {
  test('a plan needs the config alone, and a budget is checked before any weight is read', async () => {
    const asked: string[] = []
    const source: ModelSource = (name) => {
      asked.push(name)
      return changedFolder('bert', {})(name)
    }
    const plan = await planModel(source)
    expect(asked).toEqual(['config.json'])
    const { transformer } = await loadModel(folderOf('bert'))
    expect([plan.family, plan.maxLength, plan.parameters, plan.parameterBytes]).toEqual([
      'bert',
      40,
      transformer.numParameters(),
      4 * transformer.numParameters(),
    ])
    const refused = loadModel(source, { memoryBudgetBytes: plan.parameterBytes - 1 })
    await expect(refused).rejects.toBeInstanceOf(MemoryBudgetError)
    await expect(refused).rejects.toMatchObject({ smallestBudgetBytes: plan.parameterBytes })
    expect(asked).toEqual(['config.json', 'config.json'])
    await loadModel(source, { memoryBudgetBytes: plan.parameterBytes })
  })

  test('progress tells of every file, and an abort ends it', async () => {
    const heard: LoadProgress[] = []
    await loadModel(folderOf('llama'), { onProgress: (progress) => heard.push(progress) })
    expect([...new Set(heard.map(({ file }) => file))]).toHaveLength(3)
    const last = heard.at(-1)!
    expect(last.loadedBytes).toBe(last.totalBytes)
    heard.forEach(({ loadedBytes }, index) =>
      expect(loadedBytes).toBeGreaterThanOrEqual(heard[index - 1]?.loadedBytes ?? 0),
    )
    const controller = new AbortController()
    let count = 0
    const call = loadModel(folderOf('llama'), {
      signal: controller.signal,
      onProgress: () => (++count === 3 ? controller.abort(new Error('enough')) : undefined),
    })
    await expect(call).rejects.toThrow('enough')
    expect(count).toBe(3)
  })
})
