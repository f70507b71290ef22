import { FormatError } from '../core/errors.ts'
import { readJson, type ModelFiles } from './model-source.ts'
import type { Pooling } from './pooling.ts'

/** What a sentence-transformers folder says of vectors; nothing where it is none. */
export interface SentenceConfig {
  readonly pooling?: Pooling
  readonly normalize?: boolean
}

const MODES: readonly (readonly [string, Pooling])[] = [
  ['pooling_mode_cls_token', 'first'],
  ['pooling_mode_mean_tokens', 'mean'],
  ['pooling_mode_max_tokens', 'max'],
  ['pooling_mode_lasttoken', 'last'],
]

/**
 * `modules.json` lists what sentence-transformers applies: a transformer, a pooling, perhaps a normalisation.
 *
 * @throws {FormatError} that names a module or a pooling that is not supported, such as a dense layer behind the
 *   pooling
 */
export async function readSentenceConfig(files: ModelFiles, signal?: AbortSignal): Promise<SentenceConfig> {
  const modules = await readJson(files, 'modules.json', signal)
  if (modules === null) return {}
  if (!Array.isArray(modules)) throw new FormatError('loadModel: expected modules.json to be a list of modules')
  let found: SentenceConfig = {}
  for (const { type, path } of modules as { readonly type?: unknown; readonly path?: unknown }[]) {
    const kind = String(type).split('.').at(-1)
    if (kind === 'Transformer') continue
    if (kind === 'Normalize') found = { ...found, normalize: true }
    else if (kind === 'Pooling') found = { ...found, ...(await readPooling(files, String(path), signal)) }
    else
      throw new FormatError(
        `modules.json: expected modules among Transformer, Pooling and Normalize, got ${String(type)}; pass ignoreSentenceConfig: true to embed without it`,
      )
  }
  return found
}

async function readPooling(files: ModelFiles, path: string, signal: AbortSignal | undefined): Promise<SentenceConfig> {
  const config = (await readJson(files, `${path}/config.json`, signal)) as Readonly<Record<string, unknown>> | null
  if (config === null) return {}
  const on = Object.keys(config).filter((name) => name.startsWith('pooling_mode_') && config[name] === true)
  const modes = MODES.filter(([name]) => on.includes(name))
  if (on.length !== 1 || modes[0] === undefined)
    throw new FormatError(
      `${path}/config.json: expected one pooling mode among ${MODES.map(([name]) => name).join(', ')}, got ${on.join(' and ') || 'none'}; pass ignoreSentenceConfig: true and the option pooling`,
    )
  return { pooling: modes[0][1] }
}
