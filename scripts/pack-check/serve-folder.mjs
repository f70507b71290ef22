import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import path from 'node:path'

const TYPES = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.css': 'text/css',
  '.wasm': 'application/wasm',
  '.json': 'application/json',
}
/** What a careful site sends: it must be enough for Heddle. */
const POLICY =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src data:"

const ISOLATED = { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' }

/**
 * A static server on a free port of this machine, with a strict Content-Security-Policy unless `policy` is another one
 * or null; `isolated` pages may share memory; `headers` go with every answer.
 */
export async function serveFolder(folder, { policy = POLICY, isolated = false, headers: more = {} } = {}) {
  const server = createServer(async (request, response) => {
    const name = decodeURIComponent(new URL(request.url, 'http://localhost').pathname)
    const file = path.join(folder, path.normalize(name === '/' ? '/index.html' : name))
    const body = await readFile(file).catch(() => null)
    if (body === null) return response.writeHead(404).end()
    const headers = {
      ...(isolated ? ISOLATED : {}),
      'content-type': TYPES[path.extname(file)] ?? 'application/octet-stream',
      ...(policy === null ? {} : { 'content-security-policy': policy }),
      ...more,
    }
    response.writeHead(200, headers).end(body)
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    address: `http://127.0.0.1:${server.address().port}/`,
    close: () => {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(resolve))
    },
  }
}
