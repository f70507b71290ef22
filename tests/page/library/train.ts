import { createRuntime } from 'heddle'
import { CausalLanguageModel } from 'heddle/nn'
import { AdamW, crossEntropy, train, type Batch } from 'heddle/train'

// A page that does nothing but train a model through the library, in workers; it shows how many steps it has made.
// With some millions of parameters, an update takes several times as long as a frame.
const model = new CausalLanguageModel({ vocabulary: 64, layers: 2, heads: 4, modelDim: 384, seed: 1 })
const tokens = { data: Int32Array.from({ length: 256 }, (_, place) => (place * 37) % 64), shape: [2, 128] }
const data = (): Batch => ({ tokens, targets: tokens })

const runtime = await createRuntime({ workers: 2, backend: 'wasm' })
document.body.dataset['parameters'] = String(model.numParameters())
for await (const { step } of train(model, {
  data,
  loss: crossEntropy(),
  optimizer: new AdamW(model),
  clipNorm: 1,
  runtime,
})) {
  document.body.dataset['steps'] = String(step)
}
