import { runSuite, type SuiteOptions, type SuiteResult } from './suite.ts'

/** The same in Node through Dawn, without the peers, which need a page. */
export function benchWebGpu(options: Omit<SuiteOptions, 'tf' | 'log'>): Promise<SuiteResult> {
  return runSuite({ ...options, tf: null, onnxruntimeUrl: null, jaxUrl: null, log: (line) => console.log(line) })
}
