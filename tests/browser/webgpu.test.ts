import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { createWebGpuBackend, type WebGpuBackend } from '../../src/backends/webgpu/engine.ts'
import { probeWebGpu } from '../../src/backends/webgpu/probe.ts'
import { webgpuTolerance } from '../support/error-rule.ts'
import { attentionReference } from '../support/oracle.ts'
import { attentionCases, inputsOf, maxIndexAgrees } from '../webgpu/support/cases.ts'
import { everyOther } from './support/every-other.ts'
import { runCall } from '../webgpu/support/tasks.ts'

describe('WGSL attention in a page', () => {
  let backend: WebGpuBackend

  beforeAll(async () => {
    backend = await createWebGpuBackend()
  })

  afterAll(() => backend.dispose())

  test('the page is isolated as this project says', () => {
    expect(crossOriginIsolated).toBe(inject('isolated'))
  })

  test('the adapter computes in software, and the probe says so', async () => {
    expect(await probeWebGpu()).toMatchObject({ available: true, fallback: true })
  })

  // tests/webgpu/ tries all of them, with the same compiler.
  test.each(everyOther(attentionCases, 4))('$name equals the oracle', async ({ shape, options, chunkRows }) => {
    const inputs = inputsOf(shape)
    const reference = attentionReference(inputs, options)
    const result = await runCall(backend, inputs, options, {
      standard: true,
      ...(chunkRows === undefined ? {} : { chunkRows }),
    })
    expect(result.output).toMatchOracle(reference.output, webgpuTolerance)
    expect(result.logSumExp).toMatchOracle(reference.logSumExp, webgpuTolerance)
    expect(result.entropy).toMatchOracle(reference.entropy, webgpuTolerance)
    expect(result.weights).toMatchOracle(reference.weights, webgpuTolerance)
    expect(maxIndexAgrees(reference, result.maxIndex)).toBe(true)
  })
})
