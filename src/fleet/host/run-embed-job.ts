import { throwIfAborted } from '../../core/abort.ts'
import { FormatError, HeddleError, OptionError } from '../../core/errors.ts'
import { version } from '../../core/version.ts'
import { FORMAT, type JobOfKind } from '../jobs/job-format.ts'
import { exists, hashOf, readWhole, resultPath, writeTensors } from '../store/results.ts'
import type { HostContext, JobOutcome } from './host-context.ts'

/** One document as one vector, under the hash of the document, the model and this version. */
export async function runEmbed(
  host: HostContext,
  { document, model }: JobOfKind<'embed'>,
  signal: AbortSignal,
): Promise<JobOutcome> {
  const { embedder, fingerprint } = await host.models.get(model)
  const bytes = await readWhole(host.store, document, signal)
  const inputs = { kind: 'embed', format: FORMAT, heddle: version, document: hashOf(bytes), model: fingerprint }
  const result = resultPath(hashOf(inputs), 'safetensors')
  if (await exists(host.store, result)) return { skipped: true, tokens: 0, result }
  const { embedding, tokens } = await embedder
    .embed(textOf(document, bytes), { signal })
    .catch((error: unknown) => refused(document, error, signal))
  if (!(embedding instanceof Float32Array) || embedding.length === 0)
    throw new OptionError('fleet: expected the embedder to return a Float32Array of at least one number')
  await writeTensors(host.store, result, { embedding: { data: embedding, shape: [embedding.length] } })
  return { skipped: false, tokens, result }
}

/** What a model throws at a document is the same at the next try, unless it is Heddle that says otherwise. */
function refused(document: string, error: unknown, signal: AbortSignal): never {
  throwIfAborted(signal)
  if (error instanceof HeddleError) throw error
  throw new FormatError(
    `fleet: the model could not embed ${document}: ${error instanceof Error ? error.message : String(error)}`,
    { cause: error },
  )
}

function textOf(document: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new FormatError(`fleet: expected ${document} to be text in UTF-8`, { cause })
  }
}
