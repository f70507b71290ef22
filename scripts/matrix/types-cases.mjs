import { cp, readFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { run } from '../pack-check/commands.mjs'
import { project } from './project.mjs'

const TESTS = path.resolve(fileURLToPath(import.meta.url), '../../../tests/types')
/** Version → how it resolves modules. From 6 on, node10 is deprecated, and 7 has it no more. */
const VERSIONS = {
  5.4: ['node10', 'node16', 'nodenext', 'bundler'],
  5.9: ['node10', 'node16', 'nodenext', 'bundler'],
  '6.0': ['node16', 'nodenext', 'bundler'],
  7: ['node16', 'nodenext', 'bundler'],
}
const ENTRIES = ['', '/nn', '/train', '/analysis', '/models', '/fleet', '/worker']
const IMPORTS = ENTRIES.map((entry, index) => `import * as entry${index} from 'heddle${entry}'`).join('\n')
const USES = `export default [${ENTRIES.map((_, index) => `entry${index}`).join(', ')}]`

/** The declarations, compiled with `skipLibCheck: false`: without the DOM library, and with it the tests of types. */
export const typesCases = Object.entries(VERSIONS).flatMap(([version, ways]) =>
  ways.map((resolution) => ({
    name: `TypeScript ${version}, ${resolution}`,
    how: 'nothing to do',
    quick: (version === '5.4' || version === '7') && resolution === 'nodenext',
    result: 'compiles, with and without the DOM library',
    run: (context) => compile(context, version, resolution),
  })),
)

async function compile(context, version, resolution) {
  const folder = await project(context, {
    packages: [`typescript@${version}`],
    files: { 'entries.ts': `${IMPORTS}\n${USES}\n` },
  })
  for (const name of ['results.ts', 'hosts.ts']) await cp(path.join(TESTS, name), path.join(folder, name))
  const module = /^node(16|next)$/.test(resolution) ? resolution : 'esnext'
  const shared = [
    '--noEmit',
    '--strict',
    '--exactOptionalPropertyTypes',
    '--skipLibCheck',
    'false',
    '--target',
    'es2022',
  ]
  const tsc = path.join(folder, 'node_modules/.bin/tsc')
  for (const [lib, files] of [
    ['es2022', ['entries.ts']],
    ['es2022,dom', ['entries.ts', 'results.ts', 'hosts.ts']],
  ])
    await run(tsc, [...shared, '--lib', lib, '--module', module, '--moduleResolution', resolution, ...files], {
      cwd: folder,
    })
  const { version: installed } = JSON.parse(
    await readFile(path.join(folder, 'node_modules/typescript/package.json'), 'utf8'),
  )
  return { note: installed }
}
