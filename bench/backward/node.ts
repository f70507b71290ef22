import { createRequire } from 'node:module'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Packages } from '../peers/contenders.ts'
import { CONTENDERS } from './contenders.ts'
import { backwardData, worstOf } from './data.ts'
import { measureKernels } from './kernels.ts'
import { enoughRuns } from '../peers/enough-runs.ts'

// One measurement in a process of its own, so that memory and failures are its own:
// node.mjs kernels VARIANT TOKENS HEAD_SIZE CAUSAL ROUNDS, or node.mjs peer NAME TOKENS HEADS HEAD_SIZE FOLDER
const [what, name = '', tokens, ...rest] = process.argv.slice(2)
const ALLOWED_ERROR = 1e-4

// jax-js expects the browser's name even where there is none, as in Node 20.
if (typeof navigator === 'undefined') Object.defineProperty(globalThis, 'navigator', { value: {} })

const outcome = await (what === 'kernels' ? kernels() : peer()).catch((error: unknown) => ({
  failure: error instanceof Error ? error.message : String(error),
}))
// The message must be out before the process ends: `exit` alone may cut it off.
process.send?.(outcome, () => process.exit(0))

async function kernels(): Promise<object> {
  const [headSize, causal, rounds] = rest
  const shape = { tokens: Number(tokens), headSize: Number(headSize), causal: causal === 'true' }
  return (
    (await measureKernels(name as 'simd' | 'relaxed', shape, Number(rounds))) ?? {
      failure: 'this engine has no such SIMD',
    }
  )
}

async function peer(): Promise<object> {
  const [heads, headSize, folder = ''] = rest
  const shape = { tokens: Number(tokens), heads: Number(heads), headSize: Number(headSize) }
  const packages: Packages = {
    load: (id) => import(addressOf(id, folder)),
    address: (id) => `${path.dirname(createRequire(import.meta.url).resolve(`${id}/package.json`))}/dist/`,
  }
  const data = backwardData(shape)
  const run = await CONTENDERS[name]?.(shape, data, packages)
  if (run === undefined) throw new Error(`no contender ${name}`)
  const worstError = worstOf(shape, data, await run())
  if (!(worstError <= ALLOWED_ERROR))
    throw new Error(`wrong gradients: off by ${worstError.toExponential(1)} from float64`)
  const times = await enoughRuns(run)
  return { times, worstError, residentBytes: process.resourceUsage().maxRSS * 1024 }
}

/** The library's own, a file that the bench bundled beside this one, or a peer that it installed. */
function addressOf(id: string, folder: string): string {
  if (id === 'heddle' || id.startsWith('@tensorflow/')) return id
  if (id === 'tfjs-gradients') return new URL('./tfjs-gradients.mjs', import.meta.url).href
  return pathToFileURL(path.join(folder, 'node_modules', id, 'dist/index.js')).href
}
