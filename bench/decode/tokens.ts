import { createRuntime, tensor } from 'heddle'
import { HubLanguageModel, planModel, TransformerModel } from 'heddle/models'
import { spreadOf } from '../../src/cli/bench/spread.ts'

/** A small Llama: RMS norms, gated feed-forward, grouped heads, rotary positions; random weights. */
const CONFIG = {
  model_type: 'llama',
  vocab_size: 8000,
  hidden_size: 512,
  num_attention_heads: 8,
  num_key_value_heads: 2,
  intermediate_size: 1376,
  num_hidden_layers: 8,
  max_position_embeddings: 8192,
  tie_word_embeddings: true,
}

/** Processor milliseconds per token, one step after the other, behind a prompt that is read first. */
export async function decodeTokens(promptTokens: number, newTokens: number): Promise<string> {
  const { architecture } = await planModel(() => new TextEncoder().encode(JSON.stringify(CONFIG)))
  const model = new HubLanguageModel(new TransformerModel(architecture, { seed: 1 }))
  const ids = Int32Array.from({ length: promptTokens }, (_, index) => (index * 31) % CONFIG.vocab_size)
  const runtime = await createRuntime({ workers: 0 })
  try {
    const times: number[] = []
    let last = process.cpuUsage()
    const onToken = ({ position }: { readonly position: number }): void => {
      const { user, system } = process.cpuUsage(last)
      // The first new token comes with the prompt.
      if (position > promptTokens) times.push((user + system) / 1000)
      last = process.cpuUsage()
    }
    await model.generate(tensor(ids, [promptTokens]), { runtime, maxNewTokens: newTokens, onToken })
    const { medianMs, lowMs, highMs } = spreadOf(times)
    return `${shapeOf(model)}, after ${promptTokens} tokens: ${medianMs.toFixed(1)} ms (${lowMs.toFixed(1)} to ${highMs.toFixed(1)}), ${(1000 / medianMs).toFixed(1)} tokens/s`
  } finally {
    await runtime.close()
  }
}

function shapeOf(model: HubLanguageModel): string {
  const { hidden_size: size, num_attention_heads: heads, num_key_value_heads: keyValueHeads } = CONFIG
  const sizes = `E ${size}, H ${heads}, Hkv ${keyValueHeads}, FF ${CONFIG.intermediate_size}`
  return `Llama of ${sizes}, ${CONFIG.num_hidden_layers} blocks, V ${CONFIG.vocab_size}, ${(model.numParameters() / 1e6).toFixed(1)} M parameters`
}
