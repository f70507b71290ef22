import { expose, type Endpoint } from 'comlink'
import { nodeModule } from '../core/node-module.ts'
import { installErrorTransfer } from '../protocol/error-transfer.ts'
import { nodeEndpoint, type NodePort } from '../protocol/node-endpoint.ts'
import { LaneHost, type CreateBackend } from './lane-host.ts'

/** Serves one lane on this worker's own port, in a browser or in Node. */
export function serveLane(createBackend: CreateBackend): void {
  installErrorTransfer()
  expose(new LaneHost(createBackend), workerEndpoint())
}

function workerEndpoint(): Endpoint {
  const threads = nodeModule('node:worker_threads') as { parentPort?: NodePort | null } | undefined
  if (threads?.parentPort) return nodeEndpoint(threads.parentPort)
  return globalThis
}
