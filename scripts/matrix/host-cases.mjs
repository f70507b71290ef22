import path from 'node:path'
import { npm, run } from '../pack-check/commands.mjs'
import { CALL, PRINT, resultIn } from './call.mjs'
import { NotTried, project } from './project.mjs'

const NOTHING = 'nothing to do'
const CALLING_THREAD = 'the calling thread'
/** `require` of a module, in place of `import`. */
const REQUIRED = {
  'call.cjs': CALL.replace(
    "import { createRuntime, tensor } from 'heddle'",
    "const { createRuntime, tensor } = require('heddle')",
  ).replace('export async', 'exports.call = call\nasync'),
  'main.cjs': PRINT.replace("import { call } from './call.js'", "const { call } = require('./call.cjs')"),
}
/** A test of the call, in the words that vitest and Jest share; its result is printed. */
const TEST =
  "import { call } from './call.js'\ntest('attends', async () => console.log('RESULT ' + JSON.stringify(await call())))\n"
const VITEST = (environment) => `export default { test: { globals: true, environment: '${environment}' } }`
const JEST = { packages: ['jest@30', 'jest-environment-jsdom@30'], how: '`NODE_OPTIONS=--experimental-vm-modules`' }

/** Programs that run on a server, and test runners. */
export const hostCases = [
  ...['20.19', '22', '24', '26'].flatMap((version) => [nodeCase(version, 'import'), nodeCase(version, 'require')]),
  nodeCase('22.2', 'import', { expect: CALLING_THREAD, how: 'has no `process.getBuiltinModule`: use 22.12 or later' }),
  host(
    'Node, --permission',
    { packages: ['node@24'], expect: CALLING_THREAD, how: '`--allow-worker` for workers' },
    (folder) => run(bin(folder, 'node'), ['--permission', '--allow-fs-read=*', 'main.js'], { cwd: folder }),
  ),
  denoCase('Deno', ['-A']),
  denoCase('Deno, no permission', [], { how: '`--allow-sys` tells the memory of the machine, for budgets' }),
  host('Bun', { packages: ['bun'] }, (folder) => run(bin(folder, 'bun'), ['main.js'], { cwd: folder })),
  ...['node', 'jsdom', 'happy-dom'].map((environment) =>
    host(
      `vitest, ${environment}`,
      {
        packages: ['vitest@4', 'jsdom', 'happy-dom'],
        files: { 'call.test.js': TEST, 'vitest.config.js': VITEST(environment) },
      },
      (folder) => npm(['exec', '--no', '--', 'vitest', 'run', '--disable-console-intercept'], folder),
    ),
  ),
  ...['node', 'jsdom'].map((environment) =>
    host(`Jest, ${environment}`, { ...JEST, files: { 'call.test.js': TEST } }, (folder) =>
      run(
        process.execPath,
        ['--experimental-vm-modules', 'node_modules/jest/bin/jest.js', `--env=${environment}`, '--silent=false'],
        {
          cwd: folder,
        },
      ),
    ),
  ),
]

function nodeCase(version, way, more = {}) {
  const files = way === 'require' ? REQUIRED : {}
  return host(`Node ${version}, ${way}`, { packages: [`node@${version}`], files, ...more }, async (folder) => {
    const { stdout } = await run(bin(folder, 'node'), ['--version'], { cwd: folder })
    if (!stdout.startsWith(`v${version}`)) throw new NotTried(`npm installs Node ${stdout.trim()} for ${version}`)
    return run(bin(folder, 'node'), [way === 'require' ? 'main.cjs' : 'main.js'], { cwd: folder })
  })
}

function denoCase(name, permissions, more = {}) {
  return host(name, { packages: ['deno'], ...more }, (folder) =>
    run(bin(folder, 'deno'), ['run', '--no-prompt', ...permissions, 'main.js'], { cwd: folder }),
  )
}

function host(name, { packages, files = {}, how = NOTHING, expect }, start) {
  return {
    name,
    how,
    expect,
    run: async (context) => {
      const { stdout, stderr } = await start(
        await project(context, { packages, files: { 'main.js': PRINT, ...files } }),
      )
      return resultIn(`${stdout}\n${stderr}`)
    },
  }
}

function bin(folder, name) {
  return path.join(folder, 'node_modules', '.bin', name)
}
