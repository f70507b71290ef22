import fc from 'fast-check'
import { expect, test } from 'vitest'
import { expectGradients, expectTransposed } from '../support/expect-backward.ts'
import { forwardFor, gradientBits } from '../support/gradient-checks.ts'
import { describeCall, propertySettings, randomCall } from '../support/random-calls.ts'
import { useRuntime } from '../support/runtimes.ts'
import { shared } from '../support/tensors.ts'

console.info(`property tests: HEDDLE_SEED=${propertySettings.seed}`)

const runtime = useRuntime({ workers: 2 })
const alone = useRuntime({ workers: 0 })
const byTransfer = useRuntime({ workers: 2, sharedMemory: 'never' })

test(
  'any shape and options: gradients and Pᵀ·X equal the oracle',
  async () => {
    await fc.assert(
      fc.asyncProperty(randomCall(), async (call) => {
        const { inputs, options, chunkSize } = call
        await expectGradients(runtime(), inputs, { ...options, chunkSize })
          .then(() => expectTransposed(runtime(), inputs, inputs.query, options))
          .catch((error: unknown) => {
            throw new Error(describeCall(call), { cause: error })
          })
      }),
      // The references of a call take longer than all else; `npm run torture` tries gradients too.
      { ...propertySettings, numRuns: propertySettings.numRuns / 2 },
    )
  },
  propertySettings.timeoutMs,
)

test(
  'the same bits on workers or not, from shared memory or not, by transfer or not',
  async () => {
    await fc.assert(
      fc.asyncProperty(randomCall(), async ({ inputs, options, chunkSize }) => {
        const call = await forwardFor(alone(), inputs, options)
        const inShared = {
          query: shared(call.query),
          key: shared(call.key),
          value: shared(call.value),
          output: shared(call.output),
          logSumExp: shared(call.logSumExp),
          dOutput: shared(call.dOutput),
        }
        const bits = gradientBits(await alone().attentionBackward(call, options))
        expect(gradientBits(await runtime().attentionBackward(call, { ...options, chunkSize }))).toBe(bits)
        expect(gradientBits(await runtime().attentionBackward(inShared, { ...options, chunkSize }))).toBe(bits)
        expect(gradientBits(await byTransfer().attentionBackward(call, { ...options, chunkSize }))).toBe(bits)
      }),
      { ...propertySettings, numRuns: propertySettings.numRuns / 2 },
    )
  },
  propertySettings.timeoutMs,
)
