// Writes tiny-model/: a model of the jina_bert_v2 family with random weights, and a tokenizer with the words of texts/.
// It has learned nothing. Its vectors tell which words a passage has, because random vectors of words are almost at
// right angles to each other; words that many passages share have zeros. That is enough to show how a search works, and
// to test it without a download.
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { planModel, TransformerModel } from 'heddle/models'
import { writeSafetensors } from 'heddle/nn'

const here = (name) => new URL(name, import.meta.url)
const special = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
const letters = [...'abcdefghijklmnopqrstuvwxyz0123456789']

/** How many passages each word of the texts is in. */
async function countWords() {
  const texts = await Promise.all(
    (await readdir(here('texts'))).sort().map((name) => readFile(here(`texts/${name}`), 'utf8')),
  )
  const counts = new Map()
  for (const passage of texts.join('\n\n').toLowerCase().split(/\n\n+/)) {
    for (const word of new Set(passage.match(/[a-z]{2,}/g))) counts.set(word, (counts.get(word) ?? 0) + 1)
  }
  return counts
}

/**
 * Rare words keep their random rows, 50 times as large; all others are zeros, which the large layer_norm_eps keeps
 * small.
 */
function weighWords({ data, shape: [, width] }, words, counts) {
  words.forEach((word, id) => {
    const factor = (counts.get(word) ?? Infinity) > 4 ? 0 : 50
    for (let c = 0; c < width; c++) data[id * width + c] *= factor
  })
}

function tokenizerOf(words) {
  const id = (word) => words.indexOf(word)
  const around = (word) => ({ SpecialToken: { id: word, type_id: 0 } })
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: special.map((content) => ({
      id: id(content),
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'TemplateProcessing',
      single: [around('[CLS]'), { Sequence: { id: 'A', type_id: 0 } }, around('[SEP]')],
      pair: [],
      special_tokens: Object.fromEntries(
        ['[CLS]', '[SEP]'].map((word) => [word, { id: word, ids: [id(word)], tokens: [word] }]),
      ),
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(words.map((word, index) => [word, index])),
    },
  }
}

const counts = await countWords()
const words = [
  ...special,
  ...'.,;:?!\'"()-',
  ...letters,
  ...letters.map((letter) => `##${letter}`),
  ...[...counts.keys()].sort(),
]
const config = {
  model_type: 'bert',
  position_embedding_type: 'alibi',
  feed_forward_type: 'geglu',
  hidden_act: 'gelu',
  hidden_size: 64,
  num_attention_heads: 2,
  num_hidden_layers: 1,
  intermediate_size: 32,
  max_position_embeddings: 8192,
  type_vocab_size: 1,
  layer_norm_eps: 0.1,
  vocab_size: words.length,
}
const { architecture } = await planModel(() => new TextEncoder().encode(JSON.stringify(config)))
const model = new TransformerModel(architecture, { seed: 1 })
weighWords(model.namedParameters().get('embeddings.word_embeddings.weight'), words, counts)
model.namedParameters().get('embeddings.token_type_embeddings.weight').data.fill(0)

await mkdir(here('tiny-model'), { recursive: true })
await writeFile(here('tiny-model/config.json'), `${JSON.stringify(config, undefined, 2)}\n`)
await writeFile(here('tiny-model/tokenizer.json'), `${JSON.stringify(tokenizerOf(words))}\n`)
await writeFile(here('tiny-model/tokenizer_config.json'), '{ "tokenizer_class": "BertTokenizer" }\n')
await writeFile(here('tiny-model/model.safetensors'), writeSafetensors(model.stateDict()))
console.log(`tiny-model: ${words.length} words, ${model.numParameters()} parameters`)
