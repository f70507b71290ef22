import { cp, mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { npm, run as execute } from '../pack-check/commands.mjs'
import { CALL, PAGE, PRINT, resultIn, SHOW } from './call.mjs'
import { checkNoPath, pageResult, siteResult, withServer } from './in-page.mjs'
import { project } from './project.mjs'

const APP = { 'index.html': PAGE('./main.js'), 'main.js': SHOW }
const NOTHING = 'nothing to do'
const VITE_CONFIG = { 'vite.config.js': "export default { optimizeDeps: { exclude: ['heddle'] } }" }
const NEXT = {
  'app/layout.js':
    "export default function Layout({ children }) { return <html><head><link rel='icon' href='data:,' /></head><body>{children}</body></html> }",
  'app/page.js':
    "'use client'\nimport { useEffect } from 'react'\nimport { call } from '../call.js'\nexport default function Page() { useEffect(() => { call().then((result) => (document.title = JSON.stringify(result))) }, []); return <p>a page</p> }",
  'app/answer/route.js':
    "import { call } from '../../call.js'\nexport const dynamic = 'force-dynamic'\nexport async function GET() { return Response.json(await call()) }",
}
/** Astro needs Node 22.12: its project brings one, which stands before others on the path. */
const ASTRO_PACKAGES = ['astro', 'node@24']
const ASTRO = {
  'src/pages/index.astro':
    "<html><head><link rel='icon' href='data:,' /></head><body><script>import '../main.js'</script></body></html>",
  'src/main.js': SHOW.replace('./call', '../call'),
}

/** Toolchains that put the package into a page, or into a program for Node. */
export const bundlerCases = [
  viteCase('8', 'build', { quick: true }),
  viteCase('8', 'dev'),
  viteCase('7', 'build'),
  viteCase('7', 'dev', { how: `${NOTHING}; \`optimizeDeps: { exclude: ['heddle'] }\` uses the file`, from: 'text' }),
  viteCase('7', 'dev', { how: "`optimizeDeps: { exclude: ['heddle'] }`", files: VITE_CONFIG, title: ', excluded' }),
  built('webpack 5', { packages: ['webpack@5', 'webpack-cli@6'], quick: true }, (folder) =>
    exec(folder, 'webpack', './main.js', '--mode', 'production', '-o', 'site', '--output-filename', 'main.js'),
  ),
  built('Rspack', { packages: ['@rspack/core@1', '@rspack/cli@1'] }, (folder) =>
    exec(folder, 'rspack', 'build', '--entry', './main.js', '--mode', 'production', '-o', 'site'),
  ),
  built(
    'Rollup 4',
    { packages: ['rollup@4', '@rollup/plugin-node-resolve'], how: `${NOTHING}, or \`workerUrl\`` },
    (folder) => exec(folder, 'rollup', 'main.js', '-d', 'site', '-f', 'es', '-p', 'node-resolve'),
  ),
  built('Parcel 2', { packages: ['parcel@2'], page: 'index.html' }, (folder) =>
    exec(folder, 'parcel', 'build', 'index.html', '--dist-dir', 'site', '--no-cache', '--public-url', './'),
  ),
  built('esbuild, ESM', { packages: ['esbuild'], how: `${NOTHING}, or \`workerUrl\``, quick: true }, (folder) =>
    exec(folder, 'esbuild', 'main.js', '--bundle', '--format=esm', '--outdir=site'),
  ),
  built(
    'esbuild, ESM, workerUrl',
    {
      packages: ['esbuild'],
      how: '`workerUrl`, and the worker copied beside the bundle',
      quick: true,
      files: { 'main.js': SHOW.replace('call()', "call({ workers: 2, workerUrl: 'worker.js' })") },
    },
    async (folder) => {
      await exec(folder, 'esbuild', 'main.js', '--bundle', '--format=esm', '--outdir=site')
      await cp(path.join(folder, 'node_modules/heddle/dist/worker.js'), path.join(folder, 'site/worker.js'))
    },
  ),
  built('esbuild, IIFE', { packages: ['esbuild'], how: `${NOTHING}, or \`workerUrl\``, quick: true }, (folder) =>
    exec(folder, 'esbuild', 'main.js', '--bundle', '--format=iife', '--outdir=site', '--log-level=error'),
  ),
  built('bun build', { packages: ['bun'], how: `${NOTHING}, or \`workerUrl\`` }, (folder) =>
    exec(folder, 'bun', 'build', 'main.js', '--outdir', 'site'),
  ),
  forNode('esbuild, CJS, for Node', { packages: ['esbuild'], quick: true }, 'out.cjs', (folder) =>
    exec(
      folder,
      'esbuild',
      'print.js',
      '--bundle',
      '--format=cjs',
      '--platform=node',
      '--outfile=site/out.cjs',
      '--log-level=error',
    ),
  ),
  forNode('esbuild, ESM, for Node', { packages: ['esbuild'] }, 'out.mjs', (folder) =>
    exec(folder, 'esbuild', 'print.js', '--bundle', '--format=esm', '--platform=node', '--outfile=site/out.mjs'),
  ),
  forNode('webpack 5, for Node', { packages: ['webpack@5', 'webpack-cli@6'] }, 'out.cjs', (folder) =>
    exec(
      folder,
      'webpack',
      './print.js',
      '--mode',
      'production',
      '--target',
      'node',
      '-o',
      'site',
      '--output-filename',
      'out.cjs',
    ),
  ),
  nextCase('Turbopack', []),
  nextCase('webpack', ['--webpack']),
  nextCase('Turbopack', [], 'server'),
  nextCase('webpack', ['--webpack'], 'server'),
  built('Astro, build', { packages: ASTRO_PACKAGES, files: ASTRO, out: 'dist' }, (folder) =>
    exec(folder, 'astro', 'build'),
  ),
  {
    name: 'Astro, dev',
    how: NOTHING,
    run: async (context) => {
      const folder = await project(context, { packages: ASTRO_PACKAGES, files: ASTRO })
      return withServer(folder, 'astro', (port) => ['dev', '--port', String(port), '--host', 'localhost'], pageResult)
    },
  },
]

function viteCase(version, mode, { how = NOTHING, files = {}, title = '', quick = false } = {}) {
  const needs = { packages: [`vite@${version}`], files: { ...APP, ...files } }
  const name = `Vite ${version}, ${mode}${title}`
  if (mode === 'build') return built(name, { ...needs, out: 'dist', quick }, (folder) => exec(folder, 'vite', 'build'))
  const serve = (folder) => withServer(folder, 'vite', (port) => ['--port', String(port), '--strictPort'], pageResult)
  return { name, how, quick, run: async (context) => serve(await project(context, needs)) }
}

/** A page that `build` puts into `site/` (or `out`), where it must hold no path of this machine. */
function built(name, { packages, files = {}, how = NOTHING, quick = false, out = 'site' }, build) {
  const run = async (context) => {
    const folder = await project(context, { packages, files: { ...APP, ...files } })
    const site = path.join(folder, out)
    if (out === 'site') {
      await mkdir(site, { recursive: true })
      await writeFile(path.join(site, 'index.html'), PAGE('main.js'))
    }
    await build(folder)
    await checkNoPath(site, folder)
    return siteResult(site)
  }
  return { name, how, quick, run }
}

function forNode(name, { packages, quick = false }, out, build) {
  const run = async (context) => {
    const folder = await project(context, { packages, files: { 'print.js': PRINT } })
    await build(folder)
    await checkNoPath(path.join(folder, 'site'), folder)
    return resultIn((await execute(process.execPath, [path.join('site', out)], { cwd: folder })).stdout)
  }
  return { name, how: NOTHING, quick, run }
}

function nextCase(bundler, flags, part = 'client') {
  return {
    name: `Next 16, ${bundler}, ${part}`,
    how: NOTHING,
    run: async (context) => {
      const folder = await project(context, {
        packages: ['next@16', 'react@19', 'react-dom@19'],
        files: { ...NEXT, 'call.js': CALL },
      })
      await exec(folder, 'next', 'build', ...flags)
      await checkNoPath(path.join(folder, '.next/static'), folder)
      const read = (address) => fetch(`${address}answer`).then((response) => response.json())
      return withServer(folder, 'next', (port) => ['start', '-p', String(port)], part === 'client' ? pageResult : read)
    },
  }
}

function exec(cwd, bin, ...args) {
  return npm(['exec', '--no', '--', bin, ...args], cwd)
}
