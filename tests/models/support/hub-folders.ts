import { readFileSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Tensor } from 'heddle'
import type { MaybeBytes } from 'heddle/models'
import { writeSafetensors } from 'heddle/nn'

const ROOT = fileURLToPath(new URL('../../fixtures/hub-models', import.meta.url))

/** Names of the folders that tests/fixtures/generate_models.py writes. */
export const hubFolders: readonly string[] = readdirSync(ROOT).sort()

export const folderOf = (name: string): string => `${ROOT}/${name}`

/** What PyTorch made of some tokens. */
export interface ExpectedCase {
  readonly ids: readonly number[]
  readonly tokenTypes?: readonly number[]
  readonly lastHiddenState: readonly (readonly number[])[]
  readonly logits?: readonly (readonly number[])[]
}

export function expectedCases(name: string): readonly ExpectedCase[] {
  return (JSON.parse(readFileSync(`${folderOf(name)}/expected.json`, 'utf8')) as { cases: ExpectedCase[] }).cases
}

export const configOf = (name: string): Record<string, unknown> =>
  JSON.parse(readFileSync(`${folderOf(name)}/config.json`, 'utf8')) as Record<string, unknown>

export const ids = (...numbers: number[]): Int32Array => Int32Array.from(numbers)

/** A document of a model with 30 tokens, by its length. */
export const documentOf = (length: number): Int32Array =>
  Int32Array.from({ length }, (_, at) => 2 + ((at * 7 + length) % 28))

export const tokensOf = (numbers: readonly number[]): Tensor<Int32Array> => ({
  data: Int32Array.from(numbers),
  shape: [1, numbers.length],
})

/** A source with some of a folder's files replaced; null takes one away. */
export function changedFolder(
  name: string,
  changes: Readonly<Record<string, MaybeBytes | string | object>>,
): (file: string) => MaybeBytes {
  return (file) => {
    const change = changes[file]
    if (change === null) return null
    if (change !== undefined)
      return typeof change === 'string' || !(change instanceof Uint8Array)
        ? new TextEncoder().encode(typeof change === 'string' ? change : JSON.stringify(change))
        : change
    try {
      return Uint8Array.from(readFileSync(`${folderOf(name)}/${file}`))
    } catch {
      return null
    }
  }
}

/** A folder whose config has other values; undefined takes one away. */
export const withConfig = (name: string, values: Record<string, unknown>): ((file: string) => MaybeBytes) =>
  changedFolder(name, { 'config.json': { ...configOf(name), ...values } })

/** A safetensors file of these tensors. */
export const weightsFile = (tensors: Readonly<Record<string, Tensor>>): Uint8Array => writeSafetensors(tensors)
