import { expect, test } from 'vitest'
import { attentionFixtures } from '../support/fixtures.ts'
import { expectResult } from '../support/expect-attention.ts'
import { attentionReference } from '../support/oracle.ts'
import { useRuntime } from '../support/runtimes.ts'

const runtime = useRuntime({ workers: 1 })

test.each(attentionFixtures())('PyTorch: $name', async ({ inputs, options, expected }) => {
  const reference = attentionReference(inputs, options)
  const answers = {
    ...reference,
    output: { ...reference.output, exact: expected.output.data, shape: expected.output.shape },
    weights: { ...reference.weights, exact: expected.weights.data },
    logSumExp: { ...reference.logSumExp, exact: expected.logSumExp.data },
  }
  const result = await runtime().attention(inputs, { ...options, returnWeights: true, returnLogSumExp: true })
  expect(result.report.mode).toBe('standard')
  expectResult(result, answers)
  expectResult(await runtime().attention(inputs, { ...options, returnLogSumExp: true }), answers)
})
