import { copyFile, cp, mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { build } from 'esbuild'
import { withPage } from './chromium.mjs'
import { assert, npm } from './commands.mjs'
import { serveFolder } from './serve-folder.mjs'

/** A page that attends to two equal keys, whose values 1 and 3 then have the mean 2, on two workers. */
const pageSource = (options) => `
import { createRuntime, tensor } from 'heddle'
try {
  const runtime = await createRuntime(${options})
  const zeros = tensor(new Float32Array(4), [2, 2, 1])
  const { output } = await runtime.attention({ query: zeros, key: zeros, value: tensor(Float32Array.of(1, 3, 1, 3), [2, 2, 1]) })
  document.title = [...output.data].join() + ' on ' + runtime.lanes.length + ' lanes'
  await runtime.close()
} catch (error) {
  document.title = String(error)
}
`
const EXPECTED_TITLE = '2,2,2,2 on 2 lanes'
const IMPORT_MAP =
  '<script type="importmap">{ "imports": { "heddle": "./heddle/dist/index.js", "comlink": "./comlink/dist/esm/comlink.mjs" } }</script>'

/** Other ways to put the installed package into a page. */
export function bundlerChecks({ tarball }, folder) {
  return [
    {
      name: 'esbuild: a page with the option workerUrl',
      run: () => checkEsbuild(path.join(folder, 'esbuild-page'), tarball),
    },
    {
      name: 'webpack: a page without any configuration',
      run: () => checkWebpack(path.join(folder, 'webpack-page'), tarball),
    },
    {
      name: 'no bundler: a plain page with an import map',
      run: () => checkPlainPage(path.join(folder, 'plain-page'), tarball),
    },
  ]
}

async function checkEsbuild(folder, tarball) {
  await install(folder, tarball)
  await writeFile(path.join(folder, 'page.mjs'), pageSource("{ workers: 2, workerUrl: 'worker.js' }"))
  const site = await makeSite(folder)
  await build({
    entryPoints: [path.join(folder, 'page.mjs')],
    bundle: true,
    format: 'esm',
    target: 'es2022',
    outfile: path.join(site, 'page.js'),
    logLevel: 'error',
  })
  await copyFile(path.join(folder, 'node_modules/heddle/dist/worker.js'), path.join(site, 'worker.js'))
  return expectTitle(site, {})
}

async function checkWebpack(folder, tarball) {
  await install(folder, tarball, 'webpack@5', 'webpack-cli@6')
  await writeFile(path.join(folder, 'page.mjs'), pageSource('{ workers: 2 }'))
  const site = await makeSite(folder)
  await npm(
    [
      'exec',
      '--',
      'webpack',
      './page.mjs',
      '--mode',
      'production',
      '--output-path',
      'site',
      '--output-filename',
      'page.js',
    ],
    folder,
  )
  return expectTitle(site, {})
}

async function checkPlainPage(folder, tarball) {
  await install(folder, tarball)
  const site = await makeSite(folder, IMPORT_MAP)
  await cp(path.join(folder, 'node_modules'), site, { recursive: true })
  await writeFile(path.join(site, 'page.js'), pageSource('{ workers: 2 }'))
  // The import map is an inline script, which the careful policy forbids.
  return expectTitle(site, { policy: null })
}

async function install(folder, ...packages) {
  await mkdir(folder, { recursive: true })
  await writeFile(path.join(folder, 'package.json'), '{ "private": true }')
  await npm(['install', ...packages], folder)
}

async function makeSite(folder, head = '') {
  const site = path.join(folder, 'site')
  await mkdir(site, { recursive: true })
  await writeFile(
    path.join(site, 'index.html'),
    `<!doctype html><link rel="icon" href="data:,">${head}<script type="module" src="page.js"></script>`,
  )
  return site
}

async function expectTitle(site, options) {
  const server = await serveFolder(site, options)
  try {
    return await withPage(async (page) => {
      await page.goto(server.address)
      await page.waitForFunction(() => document.title !== '', undefined, { timeout: 30_000 })
      const title = await page.title()
      assert(title === EXPECTED_TITLE, `expected '${EXPECTED_TITLE}', got '${title}'`)
    })
  } finally {
    await server.close()
  }
}
