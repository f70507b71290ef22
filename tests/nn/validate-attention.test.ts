import { createRuntime, type Runtime } from 'heddle'
import { validateAttention } from 'heddle/nn'
import { afterAll, beforeAll, expect, it } from 'vitest'

let runtime: Runtime
beforeAll(async () => {
  runtime = await createRuntime({ workers: 1 })
})
afterAll(() => runtime.close())

it('passes on a sound runtime, for any seed', async () => {
  for (const seed of [0, 1, 2n ** 63n]) {
    const { passed, checks } = await validateAttention({ runtime, seed })
    expect(checks.filter((check) => !check.passed)).toEqual([])
    expect(checks).toHaveLength(9)
    expect(passed).toBe(true)
  }
})

it.each([
  [
    'an output that is off',
    (data: Float32Array) => data.fill(0.5),
    ['output = weights · V', 'no leak from the future', 'a row without any key is 0'],
  ],
  ['one element that is off', (data: Float32Array) => data.fill(data[0]! + 0.01, 0, 1), ['output = weights · V']],
] as const)('finds %s', async (_name, spoil, names) => {
  const broken = Object.create(runtime) as Runtime
  broken.attention = async (...call) => {
    const result = await runtime.attention(...call)
    spoil(result.output.data)
    return result
  }
  const { passed, checks } = await validateAttention({ runtime: broken })
  expect(passed).toBe(false)
  expect(checks.filter((check) => !check.passed).map(({ name }) => name)).toEqual(expect.arrayContaining([...names]))
})

it('finds weights that do not sum to one, and a leak', async () => {
  const broken = Object.create(runtime) as Runtime
  broken.attention = async (inputs, options) => {
    const result = await runtime.attention(inputs, { ...options, causal: false })
    result.weights?.data.forEach((weight, index, data) => (data[index] = weight * 1.001))
    return result
  }
  const failed = (await validateAttention({ runtime: broken })).checks
    .filter((check) => !check.passed)
    .map(({ name }) => name)
  expect(failed).toContain('rows of weights sum to one')
  expect(failed).toContain('no leak from the future')
})
