import { readFile } from 'node:fs/promises'
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { assert } from './commands.mjs'

/** The package is ESM alone: `require` of it needs Node 20.19, and types that a CommonJS file imports are ESM. */
const ACCEPTED = ['CJSResolvesToESM']

/** What package.json says, as others' tools see it. */
export function metadataChecks({ tarball, content }) {
  return [
    {
      name: 'publint: nothing to say about package.json',
      run: async () => {
        const { messages, pkg } = await publint({ pkgDir: content, strict: true, pack: false })
        assert(messages.length === 0, messages.map((message) => formatMessage(message, pkg)).join('\n'))
      },
    },
    {
      name: 'are the types wrong: every entry resolves, in every way',
      run: async () => {
        const { problems } = await checkPackage(createPackageFromTarballData(await readFile(tarball)))
        const found = problems.filter(({ kind }) => !ACCEPTED.includes(kind))
        assert(found.length === 0, JSON.stringify(found, null, 1))
      },
    },
  ]
}
