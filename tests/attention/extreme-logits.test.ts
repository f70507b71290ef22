import { describe, test } from 'vitest'
import { expectOracle } from '../support/expect-attention.ts'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { filled, normalTensor } from '../support/tensors.ts'

const runtime = useRuntime({ workers: 1 })
const [M, N, D] = [40, 300, 16]

function normals(seed: number, spread = 1) {
  const random = new Random(seed)
  return {
    query: normalTensor(random, [M, D], spread),
    key: normalTensor(random, [N, D]),
    value: normalTensor(random, [N, D]),
  }
}

describe('logits of ±1e4', () => {
  test('from the inputs', async () => {
    await expectOracle(runtime(), normals(71, 1e4))
  })
  test('from the scale', async () => {
    await expectOracle(runtime(), normals(72), { scale: 2500 })
  })
  test.each([1e4, -1e4])('every logit shifted by %i', async (shift) => {
    await expectOracle(runtime(), normals(73), { bias: filled([1], () => shift) })
  })
  test('some keys at +1e4, the others at −1e4, in rising and in falling order', async () => {
    for (const sign of [1, -1])
      await expectOracle(runtime(), normals(74), { bias: filled([N], (j) => sign * (j - N / 2) * (2e4 / N)) })
  })
  test('softcapped', async () => {
    await expectOracle(runtime(), normals(75, 1e4), { softcap: 20 })
    await expectOracle(runtime(), normals(76, 1e-3), { softcap: 50 })
  })
})

describe('scale', () => {
  test.each([0, -1, 1e-20, 1, 30])('%f', async (scale) => {
    await expectOracle(runtime(), normals(77), { scale })
  })
  test('undefined is the default', async () => {
    await expectOracle(runtime(), normals(78))
  })
})

test('rows that one key dominates: weights down to 0', async () => {
  await expectOracle(runtime(), normals(79), { bias: filled([N], (j) => -j * 0.7) })
})

test('a softcap of 0 is off, and a tiny one levels the scores', async () => {
  await expectOracle(runtime(), normals(80), { softcap: 0 })
  await expectOracle(runtime(), normals(80), { softcap: 1e-3 })
})

test('values of very different magnitude', async () => {
  const inputs = normals(81)
  const value = filled([N, D], (at) => inputs.value.data[at]! * 10 ** ((at % 13) - 6))
  await expectOracle(runtime(), { ...inputs, value })
})
