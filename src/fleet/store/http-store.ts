import { checkInteger, checkNames, expected } from '../../core/check.ts'
import { StoreError } from '../../core/errors.ts'
import { checkRead, checkStorePath, type FleetStore } from './fleet-store.ts'

/** What `httpStore` takes. */
export interface HttpStoreOptions {
  /** Sent with every request: an `Authorization`, say. */
  readonly headers?: Readonly<Record<string, string>>
  /** How long one request may take. @default 60,000 */
  readonly timeoutMs?: number
}

interface Server {
  readonly base: URL
  readonly headers: Readonly<Record<string, string>>
  readonly timeoutMs: number
}

/**
 * Files under an address: `HEAD`, `GET` with `Range`, `PUT` and `DELETE`. The server must answer ranges with 206 and
 * send an `ETag` or `Last-Modified`; a `PUT` must become visible as a whole. Redirects are not followed: they could
 * lead anywhere.
 *
 * @param address the folder's, `https://store.example/fleet/`
 * @throws {OptionError} for wrong addresses and options
 *
 * @example
 * ```ts
 * import { httpStore } from 'heddle/fleet'
 *
 * const store = httpStore('https://store.example/fleet/', { headers: { Authorization: 'Bearer …' } })
 * const bytes = await store.read('query.safetensors', 0, 8)
 * console.log(bytes.length)
 * ```
 */
export function httpStore(address: string | URL, options: HttpStoreOptions = {}): FleetStore {
  options = checkNames('httpStore: options', options, ['headers', 'timeoutMs'])
  const { headers = {}, timeoutMs = 60_000 } = options
  checkInteger('httpStore: option timeoutMs', timeoutMs, 1)
  const server: Server = { base: checkedAddress(address), headers, timeoutMs }
  return {
    stat: async (path) => {
      const response = await request(server, 'HEAD', path)
      if (response.status === 404) return undefined
      expectStatus(response, 'HEAD', path, [200])
      return { bytes: Number(response.headers.get('content-length')), tag: tagOf(response, path) }
    },
    read: (path, start, end, signal) => readRange(server, path, { start, end }, signal),
    write: async (path, bytes) => {
      const response = await request(server, 'PUT', path, { body: bytes as BodyInit })
      expectStatus(response, 'PUT', path, [200, 201, 204])
    },
    remove: async (path) => {
      expectStatus(await request(server, 'DELETE', path), 'DELETE', path, [200, 202, 204, 404])
    },
  }
}

async function readRange(
  server: Server,
  path: string,
  { start, end }: { start: number; end: number },
  signal?: AbortSignal,
): Promise<Uint8Array> {
  if (start >= end) return new Uint8Array(0)
  const response = await request(server, 'GET', path, {
    headers: { range: `bytes=${start}-${end - 1}` },
    ...(signal && { signal }),
  })
  if (response.status === 200) {
    await response.body?.cancel()
    throw new StoreError(
      `store: expected ${server.base.origin} to answer a range of ${path} with 206, got the whole file: it does not support range requests`,
    )
  }
  expectStatus(response, 'GET', path, [206])
  return checkRead(
    path,
    new Uint8Array(await response.arrayBuffer().catch((cause: unknown) => fail('GET', path, cause))),
    start,
    end,
  )
}

function checkedAddress(address: unknown): URL {
  const text = address instanceof URL ? address.href : address
  if (typeof text !== 'string' || !URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol)) {
    throw expected('httpStore: address', 'an http or https address', address)
  }
  const base = new URL(text)
  if (!base.pathname.endsWith('/')) base.pathname += '/'
  return base
}

async function request(
  { base, headers, timeoutMs }: Server,
  method: string,
  path: string,
  extra: RequestInit = {},
): Promise<Response> {
  checkStorePath('store', path)
  const timeout = AbortSignal.timeout(timeoutMs)
  const signal = extra.signal ? AbortSignal.any([extra.signal, timeout]) : timeout
  const url = new URL(path.split('/').map(encodeURIComponent).join('/'), base)
  try {
    return await fetch(url, { ...extra, method, redirect: 'error', signal, headers: { ...headers, ...extra.headers } })
  } catch (cause) {
    extra.signal?.throwIfAborted()
    return fail(method, path, cause)
  }
}

function fail(method: string, path: string, cause: unknown): never {
  const { message, cause: deeper } = cause as Error
  throw new StoreError(`store: ${method} ${path} failed: ${deeper instanceof Error ? deeper.message : message}`, {
    cause,
    details: { path },
  })
}

function expectStatus(response: Response, method: string, path: string, allowed: readonly number[]): void {
  if (allowed.includes(response.status)) return
  const reason = response.status === 507 ? ' (no storage left)' : ''
  const message = `store: expected ${method} ${path} to answer ${allowed.join(' or ')}, got ${response.status}${reason}`
  throw new StoreError(message, { details: { path, status: response.status } })
}

function tagOf({ headers }: Response, path: string): string {
  const tag = headers.get('etag') ?? headers.get('last-modified')
  if (tag === null)
    throw new StoreError(
      `store: expected an ETag or Last-Modified with ${path}: without one a changed file cannot be told from the old one`,
    )
  return tag
}
