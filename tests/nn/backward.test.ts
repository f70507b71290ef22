import type { Tensor, TensorData } from 'heddle'
import * as nn from 'heddle/nn'
import type { AnyModule } from 'heddle/nn'
import { describe, expect, it } from 'vitest'
import {
  layerFixtures,
  layerGradientFixtures,
  modelFixtures,
  type LayerFixture,
  type ModelFixture,
} from '../support/fixtures.ts'
import { useRuntime } from '../support/runtimes.ts'

/** A layer, a call, and the gradients that PyTorch gives. */
interface Case {
  readonly name: string
  readonly layer: AnyModule
  readonly input: Tensor<TensorData>
  readonly dOutput: Tensor
  readonly options: object
  readonly output: Tensor
  /** dInput, dKey and dValue, as far as there are any */
  readonly inputGradients: Readonly<Record<string, Tensor>>
  readonly parameterGradients: Readonly<Record<string, Tensor>>
}

const GRADIENTS_OF: Readonly<Record<string, string>> = {
  input: 'dInput',
  query: 'dInput',
  key: 'dKey',
  value: 'dValue',
}
const byResult = (gradients: Readonly<Record<string, Tensor>>): Record<string, Tensor> =>
  Object.fromEntries(Object.entries(gradients).map(([name, gradient]) => [GRADIENTS_OF[name] ?? name, gradient]))

/** Layers and models that PyTorch has itself, in float32. */
function ownLayer({
  name,
  kind,
  settings,
  stateDict,
  inputs,
  output,
  dOutput,
  inputGradients,
  parameterGradients,
}: LayerFixture): Case {
  const { modelDim, heads, causal, keyMask, ...others } = settings
  const block = { modelDim, heads, ...others } as nn.TransformerEncoderOptions
  const made = {
    MultiheadAttention: () => new nn.MultiHeadAttention({ modelDim, heads }),
    TransformerEncoderLayer: () => new nn.TransformerBlock(block),
    TransformerEncoder: () => new nn.TransformerEncoder(block),
  }
  const layer: AnyModule = made[kind]()
  layer.loadStateDict(stateDict)
  const { query, input = query, ...sources } = inputs
  return {
    name,
    layer,
    input: input!,
    dOutput,
    options: { causal, ...sources, ...(keyMask === undefined ? {} : { keyMask }) },
    output,
    inputGradients: byResult(inputGradients),
    parameterGradients,
  }
}

function ownModel({ name, settings, stateDict, tokens, output, dOutput, parameterGradients }: ModelFixture): Case {
  const { maxLength, ...others } = settings
  const layer = new nn.CausalLanguageModel({ ...others, ...(settings.positions === 'learned' ? { maxLength } : {}) })
  layer.loadStateDict(stateDict)
  return { name, layer, input: tokens, dOutput, options: {}, output, inputGradients: {}, parameterGradients }
}

function composed(): Case[] {
  return layerGradientFixtures().map(
    ({
      name,
      layer: kind,
      arguments: args,
      options,
      state,
      inputs,
      output,
      dOutput,
      inputGradients,
      parameterGradients,
    }) => {
      const layer: AnyModule = new nn[kind](...(Object.values(args) as [never, never]))
      layer.loadStateDict(state)
      // Nothing else than dropout depends on it.
      layer.train()
      const [[, input], ...sources] = Object.entries(inputs) as [[string, Tensor], ...[string, Tensor][]]
      return {
        name,
        layer,
        input,
        dOutput,
        options: { ...options, ...Object.fromEntries(sources) },
        output,
        inputGradients: byResult(inputGradients),
        parameterGradients,
      }
    },
  )
}

const groups = {
  'layers of PyTorch': layerFixtures().map(ownLayer),
  "language models of PyTorch's layers": modelFixtures().map(ownModel),
  "layers of PyTorch's operations": composed(),
}
const runtimes = {
  'the calling thread': { runtime: useRuntime({ workers: 0 }), chunks: {} },
  'two workers': { runtime: useRuntime({ workers: 2 }), chunks: { chunkSize: 3 } },
  'two workers without shared memory': {
    runtime: useRuntime({ workers: 2, sharedMemory: 'never' }),
    chunks: { chunkSize: 3 },
  },
}

/** A mean over few rows in float32, against float64: sums of up to 90 products, of numbers up to 10. */
function expectClose(name: string, actual: Tensor, expected: Tensor): void {
  expect(actual.shape, name).toEqual(expected.shape)
  let worst = 0
  expected.data.forEach((should, at) => {
    const error = Math.abs((actual.data[at] ?? NaN) - should) / (1e-5 + 1e-4 * Math.abs(should))
    worst = Math.max(worst, Number.isNaN(error) ? Infinity : error)
  })
  expect(worst, `${name}, of the bound`).toBeLessThan(1)
}

describe.each(Object.entries(runtimes))('gradients on %s', (_where, { runtime, chunks }) => {
  describe.each(Object.entries(groups))('%s', (_group, cases) => {
    it.each(cases.map((each) => [each.name, each] as const))(
      '%s',
      async (_name, { layer, input, dOutput, options, output, inputGradients, parameterGradients }) => {
        const call = { runtime: runtime(), ...chunks, ...options }
        expectClose('output', (await layer.forward(input, call)).output, output)
        const { gradients, report, ...ofInputs } = await layer.backward(input, dOutput, call)
        expect(Object.keys(ofInputs).sort()).toEqual(Object.keys(inputGradients).sort())
        for (const [name, gradient] of Object.entries(ofInputs)) expectClose(name, gradient, inputGradients[name]!)
        expect([...gradients.keys()].sort()).toEqual(Object.keys(parameterGradients).sort())
        expect(report.retries).toBe(0)
        for (const [name, gradient] of gradients) expectClose(name, gradient, parameterGradients[name]!)
      },
    )
  })
})
