import { expect, describe, test } from 'vitest'
import { gradientProgram, type ForwardGraph } from '../../src/program/gradient-program.ts'
import { Graph } from '../../src/program/graph.ts'
import type { ProgramRuntime } from '../../src/program/host.ts'
import type { Operation, OperationKind, Value } from '../../src/program/operation.ts'
import { OPERATION_KINDS, isRowWise, ruleOf } from '../../src/program/operations/rules.ts'
import { Parameter } from '../../src/program/parameter.ts'
import { partition, type Program } from '../../src/program/partition.ts'
import { noAdjoint } from '../../src/program/rule.ts'
import { runProgram } from '../../src/program/run.ts'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { SEED } from './cases/elementwise-cases.ts'
import type { OperationCase, Sizes } from './cases/operation-case.ts'
import { CASES } from './operation-cases.ts'

/**
 * Every kind of operation, on the shipped kernels: forward against float64, its adjoint against central differences of
 * that.
 */

const runtime = useRuntime({ workers: 0 })
/**
 * B·M below, at and above a tile of 64 rows and two of them; widths below and
 * above the kernels' vectors and panels of 8. A part of all these without HEDDLE_HEAVY=1.
 */
const HEAVY = process.env['HEDDLE_HEAVY'] === '1'
const ROWS = HEAVY
  ? ([
      [1, 1],
      [1, 5],
      [1, 63],
      [2, 32],
      [1, 65],
      [10, 13],
    ] as const)
  : ([
      [1, 5],
      [2, 32],
      [10, 13],
    ] as const)
const WIDTHS = HEAVY ? [1, 3, 8, 17] : [1, 8, 17]
/** 0: chosen by the plan */
const CHUNK_SIZES = HEAVY ? [0, 1, 7, 64] : [0, 1, 7]
/** Of the largest number: float32 products and sums of up to 130 rows. */
const TOLERANCE = 3e-6
const STEP = 1e-5

/** Kinds whose adjoints ran. */
const seen = new Set<OperationKind>()

interface Given {
  readonly inputs: readonly Float32Array[]
  readonly parameters: readonly Parameter[]
  readonly tokens: Int32Array
}

function givenFor({ inputs, parameters, tokenKinds }: OperationCase, sizes: Sizes, random: Random): Given {
  const { B, M } = sizes
  // Away from 0, where ReLU has no slope.
  const normals = (length: number) =>
    Float32Array.from({ length }, () => random.normal()).map((value) => value + Math.sign(value) * 1e-3)
  return {
    inputs: inputs(sizes).map((width) => normals(B * M * width)),
    parameters: (parameters?.(sizes) ?? []).map((shape) => {
      const parameter = new Parameter(shape)
      parameter.data.set(normals(parameter.data.length))
      return parameter
    }),
    tokens: Int32Array.from({ length: B * M }, () => random.integer(0, (tokenKinds?.(sizes) ?? 1) - 1)),
  }
}

interface Built {
  readonly graph: Graph
  readonly inputs: readonly Value[]
  readonly output: Value
}

function built(each: OperationCase, sizes: Sizes, { inputs, parameters, tokens }: Given, forGradients: boolean): Built {
  const { B, M } = sizes
  const graph = new Graph({ scope: 'test', seed: SEED, position: each.position ?? 0, forGradients })
  const values = each
    .inputs(sizes)
    .map((width, at) => graph.input(`input ${at}`, { batch: B, rows: M, width }, inputs[at]!))
  const numbers = graph.input('tokens', { batch: B, rows: M, width: 1 }, tokens, { layout: 'tokens', integers: true })
  return { graph, inputs: values, output: each.build(graph, values, parameters, numbers, sizes) }
}

async function dataOf(program: Program, chunkSize: number | undefined): Promise<Float32Array[]> {
  const { data } = await runProgram(program, runtime() as unknown as ProgramRuntime, {
    signal: undefined,
    chunkSize,
    sharedOutput: false,
    plainResults: program.results.length,
  })
  return data as Float32Array[]
}

/** Gradients of the inputs, then of the parameters, given that of the output. */
async function gradientsOf(
  each: OperationCase,
  sizes: Sizes,
  given: Given,
  dOutput: Float32Array,
  chunkSize: number | undefined,
): Promise<Float32Array[]> {
  const build = (): ForwardGraph => {
    const { graph, inputs, output } = built(each, sizes, given, true)
    const { layout, heads } = output
    const seeds =
      each.factor === undefined
        ? [[output, graph.input('output gradient', output, dOutput, { layout, heads })] as const]
        : []
    return {
      graph,
      seeds: new Map(seeds),
      losses: each.factor === undefined ? [] : [output],
      inputs,
      parameters: new Set(given.parameters),
    }
  }
  const { program, inputs, parameters } = gradientProgram(build, runtime() as unknown as ProgramRuntime, { chunkSize })
  program.graph.operations.forEach(({ kind }) => seen.add(kind))
  const data = await dataOf(program, chunkSize)
  return [...inputs, ...given.parameters.map((parameter) => parameters.get(parameter) ?? null)].map(
    (value) => data[program.results.indexOf(value!)]!,
  )
}

/** The largest difference beside the largest expected number, or beside 1. */
function worst(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Infinity
  const largest = Array.from(expected).reduce((most, value) => Math.max(most, Math.abs(value)), 1)
  return Array.from(expected).reduce(
    (most, value, at) =>
      Math.max(most, Math.abs(actual[at]! - value) / largest || (actual[at] === value ? 0 : Infinity)),
    0,
  )
}

/** Central differences of Σ dOutput·reference: along random directions through all elements, and of single ones. */
function checkSlopes(
  each: OperationCase,
  objective: () => number,
  tensor: Float64Array,
  gradient: Float32Array,
  random: Random,
  what: string,
): void {
  const tolerance = TOLERANCE * (each.slack ?? 1)
  const samples = each.samples ?? 24
  const largest = gradient.reduce((most, value) => Math.max(most, Math.abs(value)), 1)
  const slope = (direction: Float64Array): number => {
    const start = tensor.slice()
    const at = (sign: number): number => {
      tensor.set(start.map((value, index) => value + sign * STEP * direction[index]!))
      return objective()
    }
    const difference = (at(1) - at(-1)) / (2 * STEP)
    tensor.set(start)
    return difference
  }
  for (let count = 0; count < 2; count++) {
    const direction = tensor.map(() => (random.chance(0.5) ? 1 : -1))
    const along = gradient.reduce((sum, value, index) => sum + value * direction[index]!, 0)
    expect(Math.abs(along - slope(direction)), `${what} along a direction`).toBeLessThan(
      tolerance * largest * Math.sqrt(tensor.length),
    )
  }
  const all = Array.from(tensor.keys())
  for (const place of all.length <= samples ? all : random.shuffle(all).slice(0, samples)) {
    const direction = new Float64Array(tensor.length)
    direction[place] = 1
    expect(Math.abs(gradient[place]! - slope(direction)), `${what} at ${place}`).toBeLessThan(tolerance * largest)
  }
}

async function check(each: OperationCase, sizes: Sizes, random: Random): Promise<void> {
  const given = givenFor(each, sizes, random)
  const exact = {
    inputs: given.inputs.map((data) => Float64Array.from(data)),
    parameters: given.parameters.map(({ data }) => Float64Array.from(data)),
    tokens: given.tokens,
  }
  const chunkSize = random.pick(CHUNK_SIZES) || undefined
  const { graph, output } = built(each, sizes, given, false)
  const expected = each.reference(exact, sizes)
  const [forward] = await dataOf(partition(graph, [output]), chunkSize)
  expect(worst(forward!, expected), `W ${sizes.W}, forward`).toBeLessThan(TOLERANCE * (each.slack ?? 1))
  const dOutput = Float32Array.from(expected, () => random.normal())
  const gradients = await gradientsOf(each, sizes, given, dOutput, chunkSize)
  const objective = (): number =>
    each.reference(exact, sizes).reduce((sum, value, at) => sum + value * (each.factor ?? dOutput[at]!), 0)
  const tensors = [...exact.inputs, ...exact.parameters]
  tensors.forEach((tensor, at) =>
    checkSlopes(
      each,
      objective,
      tensor,
      gradients[at]!,
      random,
      `W ${sizes.W}, gradient ${at}, chunks of ${chunkSize} rows`,
    ),
  )
}

describe.each(Object.entries(CASES))('%s', (_kind, cases) => {
  describe.each(Object.entries(cases))('%s', (_name, each) => {
    test.each(ROWS)('%i sequences of %i rows', async (B, M) => {
      for (const W of WIDTHS) await check(each, { B, M, W }, new Random(430 + W))
    })
  })
})

describe('the table of cases', () => {
  const kindOf = (kind: OperationKind): Operation => ({
    kind,
    inputs: [],
    outputs: [],
    attributes: {},
    scope: 'test',
    region: 0,
  })
  const differentiable = OPERATION_KINDS.filter(
    (kind) => kind === 'attend' || (isRowWise(kindOf(kind)) && ruleOf(kindOf(kind)).adjoint !== noAdjoint),
  )

  test('has a case of every kind with an adjoint, but for caches, which have none where gradients are wanted', () => {
    expect(() => ruleOf(kindOf('append')).adjoint(kindOf('append'), undefined as never, undefined as never)).toThrow(
      'test: expected no cache where gradients are wanted, got one',
    )
    expect(Object.keys(CASES).sort()).toEqual(differentiable.filter((kind) => kind !== 'append').sort())
  })

  test('has a case whose gradient is made with every other kind', () => {
    expect([...seen].sort()).toEqual(OPERATION_KINDS.filter((kind) => kind !== 'append').sort())
  })
})
