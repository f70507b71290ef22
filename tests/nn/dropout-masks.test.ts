import type { Tensor } from 'heddle'
import { Dropout, FeedForward, MultiHeadAttention, TransformerBlock, TransformerEncoder, type Module } from 'heddle/nn'
import { describe, expect, it } from 'vitest'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { filled, normalTensor } from '../support/tensors.ts'

const runtime = useRuntime({ workers: 2 })
const E = 16
const PARTS = ['attention weights', 'attention output', 'hidden layer', 'feed-forward output'] as const
type Part = (typeof PARTS)[number]

/** Two layers with dropout ½, whose parameters are all 0: each row comes out as it went in. */
function silent(): TransformerEncoder {
  const model = new TransformerEncoder({
    modelDim: E,
    heads: 1,
    feedForwardDim: E,
    layers: 2,
    norm: 'pre',
    finalNorm: false,
    dropout: 0.5,
  }).train()
  for (const parameter of model.parameters()) parameter.data.fill(0)
  return model
}

/** Parameters with which one dropout shows in the block's output: what it keeps is a 1, or a power of two in a sum. */
function show(block: TransformerBlock, part: Part): void {
  const { selfAttention, feedForward, norm1 } = block
  const powers = (weight: Tensor) => weight.data.forEach((_, at) => (weight.data[at] = 2 ** (at % E)))
  if (part === 'attention output') selfAttention.outProj.bias!.data.fill(1)
  if (part === 'feed-forward output') feedForward.linear2.bias!.data.fill(1)
  if (part === 'hidden layer') {
    feedForward.linear1.bias!.data.fill(1)
    powers(feedForward.linear2.weight)
  }
  if (part === 'attention weights') {
    // Row j goes in as 1 at column j, and a norm makes it high there and low elsewhere; values are then 1 and 0.
    norm1.weight.data.fill(1)
    const [mean, deviation] = [1 / E, Math.sqrt(1 / E - 1 / E ** 2 + 1e-5)]
    for (let c = 0; c < E; c++) {
      selfAttention.inProjWeight.data[(2 * E + c) * E + c] = deviation
      selfAttention.inProjBias!.data[2 * E + c] = mean
    }
    powers(selfAttention.outProj.weight)
  }
  for (const parameter of block.parameters()) parameter.touch()
}

/** Row j is 1 at column j. */
const units = filled([E, E], (at) => Number(at % (E + 1) === 0))

/** The dropouts on the way of what `show` shows, by the part that holds them. */
function dropoutsOf({
  selfAttention,
  attentionDropout,
  feedForward,
}: TransformerBlock): Record<Part, readonly Module[]> {
  const { hiddenDropout, outputDropout } = feedForward
  return {
    'attention weights': [selfAttention, attentionDropout],
    'attention output': [attentionDropout],
    'hidden layer': [hiddenDropout, outputDropout],
    'feed-forward output': [outputDropout],
  }
}

/** What a dropout of layer `index` keeps, [E rows, E]: keys for attention weights, columns otherwise. */
async function keptBy(
  index: number,
  part: Part,
  prepare: (model: TransformerEncoder) => void = () => undefined,
): Promise<boolean[]> {
  const model = silent()
  const block = model.blocks[index]!
  show(block, part)
  prepare(model)
  const { output } = await model.forward(units, { runtime: runtime(), seed: 99 })
  const added = output.data.map((value, at) => value - units.data[at]!)
  if (part === 'attention output' || part === 'feed-forward output') return Array.from(added, (value) => value !== 0)
  // Every column that the output's own dropout keeps holds the same sum of powers of two. Each dropout doubles what it
  // keeps.
  const doubled = 2 ** dropoutsOf(block)[part].filter(({ training }) => training).length
  const unit = part === 'attention weights' ? doubled / E : doubled
  return Array.from({ length: E }, (_, row) => {
    const bits = Math.round(Math.max(...added.subarray(row * E, (row + 1) * E)) / unit)
    return Array.from({ length: E }, (_unused, bit) => ((bits >> bit) & 1) === 1)
  }).flat()
}

const sites = [0, 1].flatMap((layer) => PARTS.map((part) => ({ layer, part })))
const all = Array.from({ length: E * E }, () => true)

describe('the dropouts of a model', () => {
  it('each drop about half, and no two of them the same', async () => {
    const masks: boolean[][] = []
    for (const { layer, part } of sites) masks.push(await keptBy(layer, part))
    for (const mask of masks) {
      // Six standard deviations of a fair coin that is tossed 256 times: 6·8.
      expect(Math.abs(mask.filter(Boolean).length - 128)).toBeLessThan(48)
    }
    masks.forEach((mask, at) =>
      masks.slice(at + 1).forEach((other) => {
        const same = mask.filter((kept, index) => kept === other[index]).length
        expect(Math.abs(same - 128)).toBeLessThan(48)
      }),
    )
  })

  it.each(sites)("keep their masks where that of layer $layer's $part is switched off", async (off) => {
    const switchOff = (model: TransformerEncoder) => dropoutsOf(model.blocks[off.layer]!)[off.part][0]!.eval()
    for (const { layer, part } of sites) {
      const expected = layer === off.layer && part === off.part ? all : await keptBy(layer, part)
      expect(await keptBy(layer, part, switchOff), `layer ${layer}, ${part}`).toEqual(expected)
    }
  })
})

describe('a dropout of probability 1', () => {
  const x = normalTensor(new Random(3), [3, 9, E])
  const options = () => ({ runtime: runtime(), seed: 5 })
  it('leaves nothing of a row', async () => {
    for (const layer of [new Dropout(E, 1), new FeedForward({ modelDim: E, dropout: 1 })]) {
      const { output } = await layer.train().forward(x, options())
      expect(output.data.every((value) => value === 0)).toBe(true)
    }
  })

  it("leaves a pre-norm block's input, and attention's output bias", async () => {
    const block = new TransformerBlock({ modelDim: E, heads: 2, norm: 'pre', dropout: 1 }).train()
    expect((await block.forward(x, options())).output.data).toEqual(x.data)
    const attention = new MultiHeadAttention({ modelDim: E, heads: 2, dropout: 1 }).train()
    attention.outProj.bias!.data.set(x.data.subarray(0, E))
    attention.outProj.bias!.touch()
    expect((await attention.forward(x, options())).output.data).toEqual(x.data.map((_, at) => x.data[at % E]!))
  })
})
