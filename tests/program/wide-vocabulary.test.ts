import { describe, expect, test } from 'vitest'
import { gradientProgram, type ForwardGraph } from '../../src/program/gradient-program.ts'
import { Graph } from '../../src/program/graph.ts'
import type { ProgramRuntime } from '../../src/program/host.ts'
import { wholeWeight } from '../../src/program/operation.ts'
import { linear } from '../../src/program/operations/linear.ts'
import { crossEntropy } from '../../src/program/operations/loss.ts'
import { Parameter } from '../../src/program/parameter.ts'
import { runProgram } from '../../src/program/run.ts'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'

/** Logits of more tokens than a slab of rows has room for many of. */
const [V, E] = [9001, 8]
const runtime = useRuntime({ workers: 2 })
const host = (): ProgramRuntime => runtime() as unknown as ProgramRuntime

/** A head and its loss over `rows` rows, and a program that makes their gradients. */
function headOf(rows: number) {
  const random = new Random(61)
  const normals = (length: number): Float32Array => Float32Array.from({ length }, () => random.normal())
  const [weight, hidden] = [new Parameter([V, E]), normals(rows * E)]
  weight.data.set(normals(V * E))
  const targets = Int32Array.from({ length: rows }, () => random.integer(0, V - 1))
  const build = (): ForwardGraph => {
    const graph = new Graph({ scope: 'test', seed: { seedLow: 0, seedHigh: 0 }, position: 0, forGradients: true })
    const input = graph.input('hidden', { batch: 1, rows, width: E }, hidden)
    const tokens = graph.input('targets', { batch: 1, rows, width: 1 }, targets, { layout: 'tokens', integers: true })
    const losses = crossEntropy(
      graph,
      linear(graph, input, wholeWeight(weight), null),
      tokens,
      { ignoreIndex: -100, smoothing: 0 },
      1 / rows,
    )
    return { graph, seeds: new Map(), losses: [losses], inputs: [input], parameters: new Set([weight]) }
  }
  return { weight, hidden, targets, ...gradientProgram(build, host(), { chunkSize: undefined }) }
}

describe('the loss of a head with 9,001 tokens', () => {
  test('has the gradients of float64', async () => {
    const rows = 150
    const { weight, hidden, targets, program, inputs, parameters } = headOf(rows)
    const { data } = await runProgram(program, host(), {
      signal: undefined,
      chunkSize: undefined,
      sharedOutput: false,
      plainResults: program.results.length,
    })
    const [dHidden, dWeight] = [inputs[0], parameters.get(weight)].map(
      (value) => data[program.results.indexOf(value!)]!,
    )
    const expected = { dHidden: new Float64Array(rows * E), dWeight: new Float64Array(V * E) }
    for (let r = 0; r < rows; r++) {
      const x = hidden.subarray(r * E, (r + 1) * E)
      const powers = Float64Array.from({ length: V }, (_, v) =>
        Math.exp(x.reduce((sum, value, c) => sum + value * weight.data[v * E + c]!, 0)),
      )
      const total = powers.reduce((sum, power) => sum + power, 0)
      powers.forEach((power, v) => {
        const dLogit = (power / total - (v === targets[r] ? 1 : 0)) / rows
        for (let c = 0; c < E; c++) {
          expected.dHidden[r * E + c]! += dLogit * weight.data[v * E + c]!
          expected.dWeight[v * E + c]! += dLogit * x[c]!
        }
      })
    }
    const worst = (actual: ArrayLike<number>, exact: Float64Array): number =>
      exact.reduce((most, value, at) => Math.max(most, Math.abs(actual[at]! - value)), 0) /
      exact.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
    // Logits of some 10 are rounded by 1e-6, and so are their powers; a log-sum-exp sums 9,001 of them in float32.
    expect(worst(dHidden!, expected.dHidden)).toBeLessThan(1e-5)
    expect(worst(dWeight!, expected.dWeight)).toBeLessThan(1e-5)
  })

  test('takes no memory for logits of all rows', async () => {
    const peakOf = async (rows: number): Promise<number> => {
      const { program } = headOf(rows)
      return (
        await runProgram(program, host(), {
          signal: undefined,
          chunkSize: undefined,
          sharedOutput: false,
          plainResults: program.results.length,
        })
      ).report.memory.peakBytes
    }
    const [few, many] = [await peakOf(1024), await peakOf(4096)]
    expect(many - few).toBeLessThan(0.02 * (4096 - 1024) * V * 4)
  })
})
