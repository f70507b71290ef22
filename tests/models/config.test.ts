import { FormatError, ShapeError } from 'heddle'
import { loadModel, MODEL_TYPES, planModel } from 'heddle/models'
import { describe, expect, test } from 'vitest'
import { changedFolder, configOf, folderOf, hubFolders, withConfig } from './support/hub-folders.ts'

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
    [
      'more layers than any model has',
      'bert',
      { num_hidden_layers: 1e9 },
      /expected num_hidden_layers to be an integer from 1 to 4096, got number 1000000000/,
    ],
    ['a model_type that is no text', 'bert', { model_type: 7 }, /expected a model_type among .*, got number 7/],
    ['a model_type that every object has', 'bert', { model_type: 'constructor' }, /got "constructor"/],
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

  test.each([
    ['bert', { vocab_size: 1e14 }],
    ['bert', { max_position_embeddings: 2 ** 40 }],
    ['bert', { hidden_size: 2 ** 30 }],
    ['llama', { head_dim: 2 ** 30 }],
  ])('sizes that no memory could hold: %s with %o', async (folder, values) => {
    await expect(loadModel(withConfig(folder, values))).rejects.toBeInstanceOf(ShapeError)
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
