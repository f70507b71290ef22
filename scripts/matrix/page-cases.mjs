import { cp, mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { build } from 'esbuild'
import { serveFolder } from '../pack-check/serve-folder.mjs'
import { PAGE, SHOW } from './call.mjs'
import { siteResult } from './in-page.mjs'
import { project } from './project.mjs'

const CALLING_THREAD = 'the calling thread'
const IMPORTS =
  '<script type="importmap">{ "imports": { "heddle": "./node_modules/heddle/dist/index.js", "comlink": "./node_modules/comlink/dist/esm/comlink.mjs" } }</script>'
const STRICT =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; img-src data:"
const TRUSTED = `${STRICT}; require-trusted-types-for 'script'`

/** A script that starts a worker of some kind, which makes the call, and shows what it answers. */
const INSIDE = {
  dedicated: "const port = new Worker('work.js', { type: 'module' })",
  shared: "const { port } = new SharedWorker('work.js', { type: 'module' })\nport.start()",
  service:
    "await navigator.serviceWorker.register('work.js')\nconst { active } = await navigator.serviceWorker.ready\nconst { port1: port, port2 } = new MessageChannel()\nport.start()\nactive.postMessage(port2, [port2])",
}
const ANSWER = `
const answer = (port) => call().then((result) => port.postMessage(JSON.stringify(result)))
if ('registration' in self) addEventListener('message', ({ data }) => answer(data))
else if ('onconnect' in self) addEventListener('connect', ({ ports }) => answer(ports[0]))
else answer(self)
`

/** Pages by what their server allows, and by where in them the call is made. */
export const pageCases = [
  page('plain page, import map', { quick: true, how: 'an import map with `heddle` and `comlink`' }, plainPage),
  hosted('with COOP and COEP', { policy: null, isolated: true }, { quick: true }),
  hosted('with Document-Isolation-Policy', {
    policy: null,
    headers: { 'document-isolation-policy': 'isolate-and-require-corp' },
  }),
  page('from another origin', { quick: true }, fromAnotherOrigin),
  hosted("CSP script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'", {}, { quick: true }),
  hosted(
    "CSP worker-src 'none'",
    { policy: STRICT.replace("worker-src 'self'", "worker-src 'none'") },
    {
      quick: true,
      expect: CALLING_THREAD,
      how: "allow `worker-src 'self'` for workers",
    },
  ),
  hosted(
    "CSP without 'wasm-unsafe-eval'",
    { policy: STRICT.replace("'wasm-unsafe-eval'", '') },
    {
      expect: /wasm-unsafe-eval/,
      how: "allow `script-src 'wasm-unsafe-eval'`",
    },
  ),
  hosted(
    'Trusted Types, policy heddle',
    { policy: `${TRUSTED.replace("worker-src 'self'", 'worker-src blob:')}; trusted-types heddle` },
    {
      how: '`trusted-types heddle` and `worker-src blob:`, or a `workerFactory` with your own policy',
    },
  ),
  hosted(
    "Trusted Types, workerUrl, worker-src 'self'",
    { policy: `${TRUSTED}; trusted-types heddle` },
    {
      call: "call({ workerUrl: 'worker.js' })",
      how: '`trusted-types heddle`, and `workerUrl`',
    },
  ),
  hosted(
    'Trusted Types, no policy',
    { policy: `${TRUSTED}; trusted-types 'none'` },
    {
      expect: CALLING_THREAD,
      how: '`trusted-types heddle`, or a `workerFactory` with your own policy',
    },
  ),
  page('sandboxed frame, no origin', { quick: true }, sandboxed),
  inside('dedicated'),
  inside('shared', { expect: CALLING_THREAD, how: 'shared workers have no `Worker`' }),
  inside('service', { expect: CALLING_THREAD, how: 'one classic script; service workers have no `Worker`' }),
]

function page(name, { quick = false, how = 'nothing to do', expect }, run) {
  return { name, how, quick, expect, run }
}

function hosted(name, serve, { call = 'call()', ...more } = {}) {
  return page(name, more, async (context) => siteResult(await bundled(context, SHOW.replace('call()', call)), serve))
}

/** A page whose bundle stands beside the files of the workers. */
async function bundled(context, script, { name = 'main', format = 'esm' } = {}) {
  const folder = await project(context, { files: { [`${name}.js`]: script } })
  const site = path.join(folder, 'site')
  await mkdir(site, { recursive: true })
  await bundle(folder, site, name, format)
  for (const file of ['worker.js', 'wasm-worker.js'])
    await cp(path.join(folder, 'node_modules/heddle/dist', file), path.join(site, file))
  await writeFile(path.join(site, 'index.html'), PAGE('main.js'))
  return site
}

function bundle(folder, site, name, format) {
  return build({
    entryPoints: [path.join(folder, `${name}.js`)],
    bundle: true,
    splitting: format === 'esm',
    format,
    target: 'es2022',
    outdir: site,
    logLevel: 'error',
    logOverride: { 'empty-import-meta': 'silent' },
  })
}

async function plainPage(context) {
  const folder = await project(context, { files: { 'main.js': SHOW, 'index.html': PAGE('main.js', IMPORTS) } })
  return siteResult(folder)
}

/** As from a CDN: the page's script comes from one server, the package from another. */
async function fromAnotherOrigin(context) {
  const site = await bundled(context, SHOW)
  const cdn = await serveFolder(site, { policy: null, headers: { 'access-control-allow-origin': '*' } })
  try {
    const home = path.join(site, 'home')
    await mkdir(home)
    await writeFile(path.join(home, 'index.html'), PAGE(`${cdn.address}main.js`))
    return await siteResult(home)
  } finally {
    await cdn.close()
  }
}

/** A frame that may run scripts and has no origin; what it says goes into the page's title. */
async function sandboxed(context) {
  const script =
    "import { call } from './call.js'\ncall().then((result) => parent.postMessage(JSON.stringify(result), '*'))\n"
  const site = await bundled(context, script)
  await cp(path.join(site, 'index.html'), path.join(site, 'frame.html'))
  await writeFile(
    path.join(site, 'index.html'),
    '<!doctype html><script>onmessage = ({ data }) => (document.title = data)</script><iframe sandbox="allow-scripts" src="frame.html"></iframe>',
  )
  return siteResult(site, { policy: null, headers: { 'access-control-allow-origin': '*' } })
}

function inside(kind, { expect, how } = {}) {
  return page(`in a ${kind} worker`, { expect, how }, async (context) => {
    const format = kind === 'service' ? 'iife' : 'esm'
    const site = await bundled(context, `import { call } from './call.js'${ANSWER}`, { name: 'work', format })
    await writeFile(
      path.join(site, 'main.js'),
      `${INSIDE[kind]}\nport.addEventListener('message', ({ data }) => (document.title = data))\n`,
    )
    return siteResult(site)
  })
}
