import { createRuntime } from 'heddle'
import type { FleetAttentionInputs } from 'heddle/fleet'
import { Random } from '../../support/random.ts'
import { fingerprint, normalTensor } from '../../support/tensors.ts'
import type { FleetSite } from './fleet-site.ts'

/**
 * A small call in six partials and two merges, with its bits: one key range only, so that a runtime alone gives them
 * too.
 */
export const smallInputs: FleetAttentionInputs = {
  query: { file: 'query.safetensors', name: 'q' },
  key: { file: 'keys.safetensors', name: 'k' },
  value: { file: 'keys.safetensors', name: 'v' },
}
export const smallCut = { queryRows: 80, keyRows: 1000 }

const random = new Random(902)
const query = normalTensor(random, [2, 150, 16])
const key = normalTensor(random, [2, 400, 16])
const value = normalTensor(random, [2, 400, 16])

export async function writeSmall(site: FleetSite): Promise<void> {
  await site.write('query.safetensors', { q: query })
  await site.write('keys.safetensors', { k: key, v: value })
}

/** What the call must give: rows of at least 65 have the same bits in any chunk. */
export async function smallBits(): Promise<string> {
  const runtime = await createRuntime({ workers: 0, numerics: 'portable' })
  const { output } = await runtime.attention({ query, key, value })
  await runtime.close()
  return fingerprint(output.data)
}
