import { readFileSync } from 'node:fs'
import { FormatError, MemoryBudgetError, NumericError, OptionError, type Tensor } from 'heddle'
import { loadModel, MODEL_TYPES, planModel, type LoadProgress, type ModelSource } from 'heddle/models'
import { readStateDict } from 'heddle/nn'
import { describe, expect, test } from 'vitest'
import { changedFolder, configOf, folderOf, hubFolders, weightsFile, withConfig } from './support/hub-folders.ts'

const weightsOf = (name: string, file = 'model.safetensors') =>
  readStateDict(Uint8Array.from(readFileSync(`${folderOf(name)}/${file}`)))
/** Elements of all parameters, to tell models apart. */
const checksum = async (source: ModelSource): Promise<number> =>
  (await loadModel(source)).transformer.parameters().reduce((sum, { data }) => sum + data.reduce((a, b) => a + b, 0), 0)

async function withWeights(
  name: string,
  change: (state: Record<string, { data: Float32Array; shape: readonly number[] }>) => void,
): Promise<ModelSource> {
  const state = { ...(await weightsOf(name)) } as Record<string, Tensor>
  change(state)
  return changedFolder(name, { 'model.safetensors': weightsFile(state) })
}

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

describe('configs', () => {
  const refusals: readonly (readonly [string, string, Record<string, unknown>, RegExp])[] = [
    ['no model_type', 'bert', { model_type: undefined }, /expected a model_type among bert, .*, got undefined/],
    ['an unknown model_type', 'bert', { model_type: 't5' }, /expected a model_type among .*, got "t5"/],
    [
      'an option that is not known',
      'bert',
      { mystery_gate: 3 },
      /Heddle's bert supports, got mystery_gate 3 \(not known\); name an option in ignoreConfig/,
    ],
    [
      'relative positions',
      'bert',
      { position_embedding_type: 'relative_key' },
      /position_embedding_type "relative_key" \(supported: "absolute"\)/,
    ],
    [
      'a decoder made of BERT',
      'bert',
      { is_decoder: true, add_cross_attention: true },
      /is_decoder true.*; add_cross_attention true/,
    ],
    ['an unknown activation', 'bert', { hidden_act: 'quick_gelu' }, /hidden_act "quick_gelu" \(supported: gelu, /],
    ['pruned heads', 'bert', { pruned_heads: { 0: [1] } }, /pruned_heads \(expected none\)/],
    ['quantised weights', 'llama', { quantization_config: { bits: 4 } }, /quantization_config/],
    ['a size that is none', 'bert', { hidden_size: '16' }, /expected hidden_size to be an integer ≥ 1, got "16"/],
    ['no size', 'bert', { hidden_size: undefined }, /expected hidden_size to be an integer ≥ 1, got undefined/],
    ['heads that do not divide', 'bert', { num_attention_heads: 3 }, /3 heads of a model of size 16/],
    ['interleaved rotary positions', 'nomic_bert', { rotary_emb_interleaved: true }, /rotary_emb_interleaved true/],
    [
      'an unknown scaling',
      'llama',
      { rope_scaling: { rope_type: 'longrope', factor: 2 } },
      /rope_scaling of type "longrope"/,
    ],
    [
      'an unknown option of a scaling',
      'qwen2',
      { rope_scaling: { type: 'yarn', factor: 4, mscale: 2 } },
      /rope_scaling: expected options .* mscale 2 \(not known\)/,
    ],
    [
      'key heads that do not divide',
      'llama',
      { num_key_value_heads: 3 },
      /num_key_value_heads 3 \(expected a divisor of 4 heads\)/,
    ],
    ['another gate', 'jina_bert_v2', { feed_forward_type: 'swiglu' }, /feed_forward_type "swiglu"/],
    [
      'layers of other kinds',
      'qwen2',
      { layer_types: ['full_attention', 'linear_attention'] },
      /layer_types \(supported: lists of full_attention and sliding_attention\)/,
    ],
    ['scaled layers', 'gpt2', { scale_attn_by_inverse_layer_idx: true }, /scale_attn_by_inverse_layer_idx true/],
  ]

  test.each(refusals)('%s', async (_name, folder, values, message) => {
    const call = planModel(withConfig(folder, values))
    await expect(call).rejects.toThrow(message)
    await expect(call).rejects.toBeInstanceOf(FormatError)
  })

  test('that are no JSON, or no object', async () => {
    await expect(planModel(changedFolder('bert', { 'config.json': '{' }))).rejects.toThrow(
      /expected config.json to be JSON/,
    )
    await expect(planModel(changedFolder('bert', { 'config.json': '[]' }))).rejects.toThrow(
      /expected a JSON object, got an array/,
    )
    await expect(planModel(changedFolder('bert', { 'config.json': null }))).rejects.toThrow(
      /expected config.json in the source, found none/,
    )
  })

  test('what the caller takes responsibility for is let in', async () => {
    expect((await planModel(withConfig('bert', { mystery_gate: 3 }), { ignoreConfig: ['mystery_gate'] })).family).toBe(
      'bert',
    )
  })

  test('what published configs say beside the model is let in', async () => {
    const beside = {
      _name_or_path: 'x',
      auto_map: { AutoModel: 'a.B' },
      classifier_dropout: null,
      directionality: 'bidi',
      pooler_fc_size: 768,
      pooler_type: 'first_token_transform',
      output_past: true,
      model_max_length: 8192,
      id2label: { 0: 'A' },
      label2id: { A: 0 },
      torch_dtype: 'float32',
      gradient_checkpointing: false,
      use_cache: true,
      matryoshka_dimensions: [256],
      eos_token_id: 2,
      'transformers.js_config': { dtype: 'q8' },
    }
    for (const name of hubFolders)
      expect((await planModel(withConfig(name, beside))).parameters).toBe((await planModel(folderOf(name))).parameters)
  })

  test('newer ways to write rotary positions mean the same', async () => {
    const { rope_theta: base, rope_scaling: scaling } = configOf('llama') as {
      rope_theta: number
      rope_scaling: object
    }
    const [before, after] = [
      await planModel(folderOf('llama')),
      await planModel(
        withConfig('llama', {
          rope_theta: undefined,
          rope_scaling: undefined,
          rope_parameters: { rope_theta: base, ...scaling },
        }),
      ),
    ]
    expect(after.architecture).toEqual(before.architecture)
    const layers = configOf('qwen2')
    const named = await planModel(
      withConfig('qwen2', { max_window_layers: 99, layer_types: ['full_attention', 'sliding_attention'] }),
    )
    expect(named.architecture).toEqual((await planModel(folderOf('qwen2'))).architecture)
    expect(layers['max_window_layers']).toBe(1)
    const modern = await planModel(
      withConfig('modernbert', {
        global_rope_theta: undefined,
        local_rope_theta: undefined,
        rope_parameters: {
          full_attention: { rope_type: 'default', rope_theta: 160000 },
          sliding_attention: { rope_type: 'default', rope_theta: 10000 },
        },
      }),
    )
    expect(modern.architecture).toEqual((await planModel(folderOf('modernbert'))).architecture)
  })

  test('every model type has a folder of its own in these tests', () => {
    const types = new Set(hubFolders.map((name) => (configOf(name) as { model_type: string }).model_type))
    expect(MODEL_TYPES.filter((type) => !types.has(type))).toEqual(['jina_bert_v2', 'jina_bert'])
  })
})

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
