import { mkdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { assert, npm, run } from './commands.mjs'

/** With kernels, worker, command and types; more than this means that something slipped in. */
const MAX_PACKED_BYTES = 1_500_000

/** `npm pack`, which builds first, and its content unpacked. */
export async function pack(root, folder) {
  const { stdout } = await npm(['pack', '--json', '--pack-destination', folder], root)
  const [info] = JSON.parse(stdout.slice(stdout.indexOf('[')))
  const tarball = path.join(folder, info.filename)
  const unpacked = path.join(folder, 'unpacked')
  await mkdir(unpacked)
  await run('tar', ['-xzf', tarball, '-C', unpacked])
  return { tarball, info, files: info.files.map((file) => file.path), content: path.join(unpacked, 'package') }
}

export function tarballChecks({ info, files, content }, root) {
  const read = (file) => readFile(path.join(content, file), 'utf8')
  const check = (name, body) => ({ name: `tarball: ${name}`, run: body })
  return [
    check(
      `has a sensible size (${(info.size / 1024).toFixed(0)} KiB packed, ${(info.unpackedSize / 1024).toFixed(0)} KiB unpacked, ${files.length} files)`,
      () => {
        assert(info.size < MAX_PACKED_BYTES, `expected below ${MAX_PACKED_BYTES} bytes, got ${info.size}`)
      },
    ),
    check('holds every file that package.json names', async () => {
      const { exports, bin } = JSON.parse(await read('package.json'))
      for (const target of [...targets(exports), ...targets(bin)])
        assert(files.includes(target.replace(/^\.\//, '')), `expected ${target}, but it is not packed`)
      for (const name of ['README.md', 'LICENSE', 'CHANGELOG.md', 'dist/THIRD_PARTY_LICENSES'])
        assert(files.includes(name), `expected ${name}, but it is not packed`)
    }),
    check('holds no sources, tests or reports', () => {
      const strays = files.filter(
        (file) => !/^(dist\/|docs\/[^/]+\.md$|package\.json$|README\.md$|LICENSE$|CHANGELOG\.md$)/.test(file),
      )
      assert(strays.length === 0, `expected none, got ${strays.join(', ')}`)
    }),
    check('holds no path of the machine that built it', async () => {
      for (const file of files) assert(!(await read(file)).includes(root), `expected none, but ${file} holds ${root}`)
    }),
    check('has workers that are one self-contained file each', async () => {
      for (const file of ['dist/worker.js', 'dist/wasm-worker.js']) {
        const imports = (await read(file)).match(
          /(?:^|[;}\s])(?:import|export)\s*(?:[\w*{][^'"();]*from\s*)?["'][^"']+["']/g,
        )
        assert(imports === null, `${file}: expected no static import, got ${imports?.join(', ')}`)
      }
    }),
    check('has types whose imports all resolve', async () => {
      for (const file of files.filter((name) => name.endsWith('.d.ts'))) {
        for (const [, target] of (await read(file)).matchAll(/from '(\.[^']+)'/g)) {
          const resolved = path.posix.join(path.posix.dirname(file), target).replace(/\.js$/, '.d.ts')
          assert(files.includes(resolved), `${file}: expected ${target}, but ${resolved} is not packed`)
        }
      }
    }),
    check('has no install script and one run-time dependency', async () => {
      const { scripts, dependencies } = JSON.parse(await read('package.json'))
      const hooks = Object.keys(scripts ?? {}).filter((name) => /^(pre|post)?install$/.test(name))
      assert(hooks.length === 0, `expected none, got ${hooks.join(', ')}`)
      assert(
        Object.keys(dependencies).join() === 'comlink',
        `expected comlink alone, got ${Object.keys(dependencies).join(', ')}`,
      )
    }),
  ]
}

/** The file names in a conditional exports map, at any depth. */
function targets(map) {
  if (typeof map === 'string') return [map]
  return Object.values(map ?? {}).flatMap(targets)
}
