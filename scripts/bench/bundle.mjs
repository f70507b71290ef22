import { mkdir, writeFile } from 'node:fs/promises'
import { build } from 'esbuild'

const OPTIONS = { bundle: true, format: 'esm', target: 'es2022', logLevel: 'warning' }
/** Loaded as a user would: the built library, and peers as they are published. */
const PACKAGES = ['heddle', 'heddle/*', '@tensorflow/*', 'comlink']
const TFJS_GRADIENTS = "import '@tensorflow/tfjs-core/dist/register_all_gradients'"

/**
 * Bundles parts of the benches for Node, each into `folder`/`name`.mjs. What they import of src/ comes with them.
 *
 * @param entryPoints by name, the source file
 */
export async function bundleForNode(folder, entryPoints) {
  await mkdir(folder, { recursive: true })
  await build({
    ...OPTIONS,
    platform: 'node',
    entryPoints,
    outdir: folder,
    outExtension: { '.js': '.mjs' },
    loader: { '.wasm': 'binary', '.deflate': 'base64' },
    external: PACKAGES,
  })
}

/** Bundles the script of a page, and writes the page. @param external what its import map names */
export async function bundlePage(folder, entryPoint, external = PACKAGES) {
  await build({
    ...OPTIONS,
    platform: 'browser',
    entryPoints: [entryPoint],
    outfile: `${folder}/page.js`,
    loader: { '.wasm': 'binary', '.deflate': 'base64' },
    external,
  })
  await writeFile(`${folder}/index.html`, '<!doctype html><script type="module" src="page.js"></script>')
}

/**
 * Bundles the gradients of tfjs into `folder`/tfjs-gradients.mjs. It keeps its registry in the global object, so those
 * of a bundled copy serve the package that Node loads.
 */
export async function bundleTfjsGradients(folder) {
  await build({
    ...OPTIONS,
    logLevel: 'error',
    platform: 'node',
    mainFields: ['module', 'main'],
    stdin: { contents: TFJS_GRADIENTS, resolveDir: process.cwd() },
    outfile: `${folder}/tfjs-gradients.mjs`,
  })
}
