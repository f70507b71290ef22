/**
 * Attention and embeddings on several hosts, over a BullMQ queue on Redis.
 *
 * @module heddle/fleet
 */

export { createFleet, Fleet, type FleetOptions } from './ask/fleet.ts'
export type { FleetAttentionInputs, FleetAttentionOptions, FleetProgress } from './ask/attention-request.ts'
export type { FleetAttentionReport, FleetAttentionResult } from './ask/fleet-attention-result.ts'
export type { FleetDocument, FleetEmbedOptions, FleetEmbedResult } from './ask/embed-request.ts'
export { startFleetWorker, type FleetWorker } from './host/fleet-worker.ts'
export type { FleetWorkerOptions } from './host/fleet-worker-options.ts'
export type { Embedder, EmbedderLoader } from './host/embedder.ts'
export { formatFleetEvent, type FleetEvent } from './host/fleet-log.ts'
export type { FleetConnection, QueueOptions } from './queue/fleet-options.ts'
export type { HostRecord } from './queue/host-records.ts'
export { fleetStatusOf, type FleetStatus } from './status/fleet-status.ts'
export { prometheusText } from './status/prometheus.ts'
export { statusLines } from './status/status-lines.ts'
export { folderStore } from './store/folder-store.ts'
export { httpStore, type HttpStoreOptions } from './store/http-store.ts'
export type { FleetStore, StoredFile } from './store/fleet-store.ts'
export type { RowRange, StoredTensor } from './store/stored-tensor.ts'
