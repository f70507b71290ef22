import { nodeThreads, nodeWorker, type AnyWorker } from './spawn-worker.ts'

/** A worker whose file is at an address that the user gave. */
export function workerAt(url: string | URL): AnyWorker {
  if (nodeThreads() !== null) return nodeWorker(asFileUrl(url))
  return moduleWorker(new URL(url, globalThis.document?.baseURI ?? location.href))
}

/** A worker that runs the text of a module without imports. */
export function workerOf(program: string): AnyWorker {
  // A classic script: frames without an origin start no modules from Blobs.
  if (nodeThreads() === null) return blobWorker(`'use strict';${program}`, 'classic')
  return nodeWorker(new URL(`data:text/javascript,${encodeURIComponent(program)}`))
}

/** Node wants a URL object for `file:` and `data:` addresses; a plain string is a path. */
function asFileUrl(url: string | URL): string | URL {
  return typeof url === 'string' && /^(file|data):/.test(url) ? new URL(url) : url
}

/** A module worker; from another origin (a CDN) by way of a Blob that imports it, which a page's policy may forbid. */
function moduleWorker({ href, origin, protocol }: URL): Worker {
  // In a sandboxed frame, only `self.origin` says that the page has no origin.
  return origin === self.origin || /^(blob|data):/.test(protocol)
    ? trustedWorker(href, 'module')
    : blobWorker(`import ${JSON.stringify(href)}`, 'module')
}

function blobWorker(program: string, type: WorkerType): Worker {
  const blob = URL.createObjectURL(new Blob([program], { type: 'text/javascript' }))
  // The worker has its own reference once its script is fetched; a minute is plenty for that.
  setTimeout(() => URL.revokeObjectURL(blob), 60_000)
  return trustedWorker(blob, type)
}

type Trust = (
  name: string,
  rules: { createScriptURL: (url: string) => string },
) => { createScriptURL(url: string): string }
let trust: ReturnType<Trust> | undefined

/** Where a page takes addresses of scripts from policies alone (Trusted Types), from our policy `heddle`. */
function trustedWorker(address: string, type: WorkerType): Worker {
  const options: WorkerOptions = { type, name: 'heddle lane' }
  try {
    return new Worker(address, options)
  } catch (error) {
    const { trustedTypes } = globalThis as { trustedTypes?: { createPolicy: Trust } }
    if (trustedTypes === undefined || (error as Error).name !== 'TypeError') throw error
    trust ??= trustedTypes.createPolicy('heddle', { createScriptURL: (url) => url })
    return new Worker(trust.createScriptURL(address), options)
  }
}
