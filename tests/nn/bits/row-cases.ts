import { tensor } from 'heddle'
import { Dropout, Embedding, FeedForward, LayerNorm, Linear, PositionalEncoding, RMSNorm } from 'heddle/nn'
import { Random } from '../../support/random.ts'
import { integerTensor } from '../../support/tensors.ts'
import { GatedUnit } from '../gated-unit.ts'
import { forwardOptions, once, placed, randomised, uniformTensor, type LayerCase } from './layer-case.ts'

type RowLayer = Linear | LayerNorm | RMSNorm | FeedForward | PositionalEncoding | Dropout | GatedUnit

/** A row-wise layer over a batch of 3, a single row, and more rows than a tile and a chunk hold. */
function overRows(
  name: string,
  make: () => RowLayer,
  shapes: readonly (readonly number[])[] = [[3, 67], [1, 1], [130]],
): LayerCase[] {
  const layer = once(() => randomised(make()))
  return shapes.map((rows) => ({
    name: `${name} over [${rows.join(', ')}] rows`,
    async run(setting) {
      const input = uniformTensor(17, [...rows, layer().inputDim])
      const { output } = await layer().forward(placed(setting, input), {
        ...forwardOptions(setting),
        ...(layer().training ? { seed: 2 ** 40 + 7 } : {}),
      })
      return { output: output.data }
    },
  }))
}

function embedding(name: string, make: () => Embedding, shape: readonly number[]): LayerCase {
  const layer = once(make)
  return {
    name: `${name} of [${shape.join(', ')}] tokens`,
    async run(setting) {
      const tokens = integerTensor(new Random(5), shape, layer().vocabulary)
      return { output: (await layer().forward(placed(setting, tokens), forwardOptions(setting))).output.data }
    },
  }
}

const INITIALISATIONS = ['xavier-uniform', 'xavier-normal', 'he-uniform', 'he-normal'] as const
const ACTIVATIONS = ['relu', 'gelu', 'gelu-tanh', 'silu'] as const

export const rowCases: readonly LayerCase[] = [
  ...overRows('Linear 24 → 41', () => new Linear(24, 41, { seed: 3 })),
  ...overRows('Linear 64 → 7 without bias', () => new Linear(64, 7, { bias: false, seed: 4 })),
  ...overRows('Linear 1 → 1', () => new Linear(1, 1)),
  ...INITIALISATIONS.flatMap((initialisation) =>
    overRows(`Linear 19 → 24, ${initialisation}`, () => new Linear(19, 24, { initialisation, seed: 12n }), [[5]]),
  ),
  ...overRows('LayerNorm 64', () => new LayerNorm(64)),
  ...overRows('LayerNorm 5, epsilon 0.1', () => new LayerNorm(5, 0.1)),
  ...overRows('LayerNorm 24, epsilon 0', () => new LayerNorm(24, 0), [[5]]),
  ...overRows('RMSNorm 64', () => new RMSNorm(64)),
  ...overRows('RMSNorm 5, epsilon 0.1', () => new RMSNorm(5, 0.1)),
  ...ACTIVATIONS.flatMap((activation) =>
    overRows(
      `FeedForward 24 → 50 → 24, ${activation}`,
      () => new FeedForward({ modelDim: 24, feedForwardDim: 50, activation, seed: 6 }),
    ),
  ),
  ...overRows('FeedForward 64 → 256 → 64', () => new FeedForward({ modelDim: 64, initialisation: 'he-normal' }), [
    [2, 67],
  ]),
  ...overRows('FeedForward 24 → 50 → 24, dropout 0.3', () =>
    new FeedForward({ modelDim: 24, feedForwardDim: 50, dropout: 0.3, activation: 'relu' }).train(),
  ),
  ...overRows(
    'FeedForward, dropout 0.3, its hidden dropout in evaluation mode',
    () => {
      const layer = new FeedForward({ modelDim: 24, feedForwardDim: 50, dropout: 0.3 }).train()
      layer.hiddenDropout.eval()
      return layer
    },
    [[3, 67]],
  ),
  ...overRows('a gated unit 24 → 50 → 24', () => new GatedUnit(24, 50)),
  ...overRows('Dropout 0.3', () => new Dropout(24, 0.3).train()),
  ...overRows('Dropout 1', () => new Dropout(24, 1).train(), [[5]]),
  ...overRows('Dropout 0.3, evaluation', () => new Dropout(24, 0.3), [[5]]),
  ...overRows('PositionalEncoding, sinusoidal', () => new PositionalEncoding({ modelDim: 24 })),
  ...overRows('PositionalEncoding, sinusoidal, odd size', () => new PositionalEncoding({ modelDim: 7 }), [[3, 67]]),
  ...overRows(
    'PositionalEncoding, learned',
    () => new PositionalEncoding({ modelDim: 24, kind: 'learned', maxLength: 130, seed: 8 }),
  ),
  ...overRows('PositionalEncoding, sinusoidal, dropout 0.5', () =>
    new PositionalEncoding({ modelDim: 24, dropout: 0.5 }).train(),
  ),
  ...overRows(
    'PositionalEncoding, learned, dropout 0.5',
    () => new PositionalEncoding({ modelDim: 24, kind: 'learned', maxLength: 67, dropout: 0.5 }).train(),
    [[3, 67]],
  ),
  ...[[3, 67], [1, 1], [130]].map((shape) =>
    embedding('Embedding 31 × 24', () => new Embedding(31, 24, { seed: 3 }), shape),
  ),
  embedding(
    'Embedding 5 × 64, scale √64, deviation 0.02',
    () => new Embedding(5, 64, { scale: 8, deviation: 0.02, seed: 4n }),
    [3, 67],
  ),
  {
    name: 'Dropout with a seed of 64 bits',
    async run(setting) {
      const layer = new Dropout(24, 0.3).train()
      const { output } = await layer.forward(placed(setting, tensor(uniformTensor(3, [5, 24]).data, [5, 24])), {
        ...forwardOptions(setting),
        seed: 2n ** 64n - 3n,
      })
      return { output: output.data }
    },
  },
]
