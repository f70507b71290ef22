import path from 'node:path'
import { pathToFileURL } from 'node:url'
import {
  folderStore,
  formatFleetEvent,
  httpStore,
  startFleetWorker,
  type EmbedderLoader,
  type FleetStore,
  type FleetWorkerOptions,
} from '../../fleet/index.ts'
import { EXIT, type Command, type CommandContext, type OptionValues } from '../command.ts'
import { integerOption, stringOption } from '../option-values.ts'
import { UsageError } from '../usage-error.ts'
import { REDIS_OPTIONS, redisOptions } from './redis-options.ts'

export const fleetWorkerCommand: Command = {
  name: 'fleet-worker',
  summary: "makes this machine a host of a fleet: it takes a queue's jobs until it is stopped",
  options: {
    ...REDIS_OPTIONS,
    data: {
      type: 'string',
      value: 'DIR',
      summary: 'the folder that all hosts see; nothing outside of it is read or written',
    },
    store: { type: 'string', value: 'URL', summary: 'instead of --data: an address with range requests and PUT' },
    models: { type: 'string', value: 'DIR', summary: "the folder of models' folders (default: --data)" },
    embedder: {
      type: 'string',
      value: 'FILE',
      summary: "this host's own module for embeddings: it exports loadEmbedder",
    },
    lanes: { type: 'string', value: 'N', summary: 'workers of the runtime (default: one per processor)' },
    name: {
      type: 'string',
      value: 'NAME',
      summary: "in logs and statistics (default: the machine's name and the process's number)",
    },
    'held-mib': {
      type: 'string',
      value: 'N',
      summary: 'keys and values to keep in memory (default: a quarter of the memory)',
    },
    'lock-ms': {
      type: 'string',
      value: 'N',
      summary: 'a job goes to another host when this one is silent for so long (default: 30000)',
    },
  },
  notes: ['On SIGINT or SIGTERM the running job goes back to the queue, and the host ends.'],
  run: serve,
}

async function serve({ values, terminal, signal }: CommandContext): Promise<number> {
  const worker = await startFleetWorker({
    ...hostOptions(values),
    ...(await embedderOf(values)),
    onEvent: (event) => terminal.line(formatFleetEvent(event)),
  })
  await untilStopped(signal)
  await worker.close({ giveBack: true })
  return EXIT.ok
}

function hostOptions(values: OptionValues): FleetWorkerOptions {
  const models = stringOption(values, 'models') ?? stringOption(values, 'data')
  const lanes = integerOption(values, 'lanes', 0, 256)
  const name = stringOption(values, 'name')
  const heldMib = integerOption(values, 'held-mib', 0)
  const lockMs = integerOption(values, 'lock-ms', 500)
  return {
    ...redisOptions(values),
    store: storeOf(values),
    ...(models !== undefined && { models }),
    ...(lanes !== undefined && { runtime: { workers: lanes } }),
    ...(name !== undefined && { name }),
    ...(heldMib !== undefined && { heldBytes: heldMib * 2 ** 20 }),
    ...(lockMs !== undefined && { lockMs }),
  }
}

/** @throws {UsageError} when the file cannot be imported, or exports no such function */
async function embedderOf(values: OptionValues): Promise<Pick<FleetWorkerOptions, 'loadEmbedder'>> {
  const file = stringOption(values, 'embedder')
  if (file === undefined) return {}
  const url = pathToFileURL(path.resolve(file)).href
  const module = (await import(url).catch((error: Error) => {
    throw new UsageError(`--embedder: could not import ${file}: ${error.message}`)
  })) as { readonly loadEmbedder?: unknown }
  if (typeof module.loadEmbedder !== 'function')
    throw new UsageError(`--embedder: expected ${file} to export a function loadEmbedder`)
  return { loadEmbedder: module.loadEmbedder as EmbedderLoader }
}

function storeOf(values: OptionValues): FleetStore {
  const data = stringOption(values, 'data')
  const store = stringOption(values, 'store')
  if (data !== undefined && store === undefined) return folderStore(data)
  if (store !== undefined && data === undefined) return httpStore(store, httpHeaders())
  throw new UsageError('expected either --data DIR or --store URL')
}

/** The variable HEDDLE_STORE_AUTHORIZATION becomes the header of that name. */
function httpHeaders(): { headers?: Record<string, string> } {
  const authorization = process.env['HEDDLE_STORE_AUTHORIZATION']
  return authorization === undefined ? {} : { headers: { authorization } }
}

/** SIGINT aborts the command's signal; containers are stopped with SIGTERM. */
function untilStopped(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    signal.addEventListener('abort', () => resolve())
    // A second one, while the job goes back, changes nothing.
    process.on('SIGTERM', () => resolve())
  })
}
