/** softmax([0, i·ln 2]) over the values 1 and 3, for i = 0 to 3. */
export const EXPECTED = [2, 7 / 3, 2.6, 25 / 9]

/** A module that makes a small call, in parts that workers compute, and says what came and how. */
export const CALL = `
import { createRuntime, tensor } from 'heddle'
export async function call(options = {}) {
  try {
    const runtime = await createRuntime(options)
    try {
      const query = tensor(Float32Array.of(0, 1, 2, 3), [4, 1])
      const inputs = { query, key: tensor(Float32Array.of(0, Math.LN2), [2, 1]), value: tensor(Float32Array.of(1, 3), [2, 1]) }
      const { output, report } = await runtime.attention(inputs, { chunkSize: 1 })
      return { output: [...output.data], transport: report.transport, lanes: runtime.lanes.length, fallbacks: report.fallbacks }
    } finally {
      await runtime.close()
    }
  } catch (error) {
    return { error: String(error) }
  }
}
`

/** Prints what came, in Node and its like. */
export const PRINT =
  "import { call } from './call.js'\ncall().then((result) => console.log('RESULT ' + JSON.stringify(result)))\n"

/** Leaves what came in the page's title. */
export const SHOW =
  "import { call } from './call.js'\ncall().then((result) => (document.title = JSON.stringify(result)))\n"

export const PAGE = (script, head = '') =>
  `<!doctype html><link rel="icon" href="data:,">${head}<script type="module" src="${script}"></script>`

/** The result in what a program wrote. */
export function resultIn(stdout) {
  const line = stdout.split('\n').find((each) => each.includes('RESULT '))
  if (line === undefined) throw new Error(`expected a result, got:\n${stdout}`)
  return JSON.parse(line.slice(line.indexOf('RESULT ') + 7))
}

/**
 * Holds a result against what the case expects. @param expected 'workers', 'the calling thread', or a pattern of the
 * error's message
 * @returns the result in words @throws where it is another one
 */
export function judge({ output, error, transport, from, fallbacks = [] }, expected) {
  if (expected instanceof RegExp) {
    if (error === undefined || !expected.test(error))
      throw new Error(`expected an error like ${expected}, got ${error ?? output}`)
    return 'an error that names the remedy'
  }
  if (error !== undefined) throw new Error(error)
  if (output.length !== EXPECTED.length || output.some((each, index) => Math.abs(each - EXPECTED[index]) > 1e-5))
    throw new Error(`expected [${EXPECTED}], got [${output}]`)
  const got = transport === 'local' ? 'the calling thread' : 'workers'
  const reasons = fallbacks.map(({ what, reason }) => `${what}: ${reason}`).join('\n')
  if (got !== expected) throw new Error(`expected ${expected}, got ${got}\n${reasons}`)
  if (got === 'the calling thread') {
    if (!reasons.includes('the calling thread in place of workers')) throw new Error('expected a fallback, got none')
    return 'the calling thread, reported'
  }
  const memory = transport === 'shared' ? 'shared memory' : 'transferred copies'
  return `workers${from === undefined ? '' : ` from ${from}`}, ${memory}`
}
