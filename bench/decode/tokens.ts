import { createRuntime, tensor } from 'heddle'
import { CausalLanguageModel } from 'heddle/nn'
import { spreadOf } from '../attention/spread.ts'

/** The attention and widths of a small Llama; random weights. */
const SHAPE = { vocabulary: 8000, modelDim: 512, heads: 8, keyValueHeads: 2, feedForwardDim: 1376, layers: 8, seed: 1 }

/** Processor milliseconds per token of `stream`, one step after the other, behind a prompt that is read first. */
export async function decodeTokens(promptTokens: number, newTokens: number): Promise<string> {
  const runtime = await createRuntime({ workers: 0 })
  try {
    const model = new CausalLanguageModel(SHAPE)
    const prompt = tensor(
      Int32Array.from({ length: promptTokens }, (_, index) => (index * 31) % SHAPE.vocabulary),
      [promptTokens],
    )
    const times: number[] = []
    let last = process.cpuUsage()
    for await (const token of model.stream(prompt, { runtime, maxNewTokens: newTokens })) {
      const { user, system } = process.cpuUsage(last)
      if (token.position > promptTokens) times.push((user + system) / 1000)
      last = process.cpuUsage()
    }
    const { medianMs, lowMs, highMs } = spreadOf(times)
    const shape = `E ${SHAPE.modelDim}, H ${SHAPE.heads}, Hkv ${SHAPE.keyValueHeads}, FF ${SHAPE.feedForwardDim}, ${SHAPE.layers} blocks, V ${SHAPE.vocabulary}`
    return `${shape}, ${(model.numParameters() / 1e6).toFixed(1)} M parameters, after ${promptTokens} tokens: ${medianMs.toFixed(1)} ms (${lowMs.toFixed(1)} to ${highMs.toFixed(1)}), ${(1000 / medianMs).toFixed(1)} tokens/s`
  } finally {
    await runtime.close()
  }
}
