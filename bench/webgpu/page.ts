import * as tf from '@tensorflow/tfjs-core'
import * as webgpu from '@tensorflow/tfjs-backend-webgpu'
import { registerWebGpu } from '../../src/interop/tfjs/register.ts'
import { runSuite, type SuiteOptions, type SuiteResult } from './suite.ts'

declare global {
  // Called by the script that opens the page.
  var benchWebGpu: (options: Omit<SuiteOptions, 'tf' | 'log'>) => Promise<SuiteResult>
}

globalThis.benchWebGpu = async (options) => {
  tf.removeBackend('webgpu')
  await registerWebGpu(webgpu)
  await tf.setBackend('webgpu')
  return await runSuite({ ...options, tf, log: (line) => console.log(line) })
}
