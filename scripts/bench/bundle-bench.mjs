import { mkdir, rm } from 'node:fs/promises'
import { build } from 'esbuild'

const TFJS_GRADIENTS = "import '@tensorflow/tfjs-core/dist/register_all_gradients'"

/**
 * Bundles parts of bench/ into an empty folder, for Node. With them come the gradients of tfjs: it keeps its registry
 * in the global object, so those of a bundled copy serve the package that Node loads.
 *
 * @param entryPoints files of bench/, whose paths below it stay
 * @param gradients name of the file with tfjs's gradients
 */
export async function bundleBench(folder, entryPoints, gradients) {
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  const options = { bundle: true, format: 'esm', target: 'es2022', platform: 'node' }
  await build({
    ...options,
    entryPoints,
    outdir: folder,
    outbase: 'bench',
    external: ['heddle', '@tensorflow/*'],
    logLevel: 'warning',
    outExtension: { '.js': '.mjs' },
  })
  await build({
    ...options,
    logLevel: 'error',
    mainFields: ['module', 'main'],
    stdin: { contents: TFJS_GRADIENTS, resolveDir: process.cwd() },
    outfile: `${folder}/${gradients}.mjs`,
  })
}
