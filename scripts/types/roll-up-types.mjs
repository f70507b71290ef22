// One declaration file per entry, beside its script, with what several entries share in files of their own: a class
// with private members is the same type from wherever it is imported only where it is declared once.
import { copyFile, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { rollup } from 'rollup'
import { dts } from 'rollup-plugin-dts'

/** Names of the host that platform.d.ts declares by their shape. */
const PLATFORM = /\b(?:AbortSignal|URL|Blob|File|FileList|ReadableStream|Worker|WebAssembly)\b/g

/**
 * @param folder the compiler's declarations, a file per source; removed at the end
 * @param entries output name → source
 * @param out where the rolled-up files go
 */
export async function rollUpTypes({ folder, entries, out }) {
  await copyFile(new URL('./platform.d.ts', import.meta.url), path.join(folder, 'platform.d.ts'))
  const files = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith('.d.ts'))
  for (const name of files.filter((file) => file !== 'platform.d.ts')) await prepare(folder, name)
  const input = Object.fromEntries(
    Object.entries(entries).map(([name, source]) => [name, path.join(folder, source.replace(/\.ts$/, '.d.ts'))]),
  )
  const bundle = await rollup({
    input,
    plugins: [dts({ tsconfig: path.resolve('tsconfig.build.json') })],
    // Types of peers, which those who use them have.
    external: [/^(?!\.|\/)/],
    onwarn: (warning) => {
      // Parts of public types that have no name of their own in an entry.
      if (warning.message.includes('private shared type exports')) return
      throw new Error(`types: ${warning.message}`)
    },
  })
  const names = { entryFileNames: '[name].d.ts', chunkFileNames: 'types-[hash].d.ts' }
  const { output } = await bundle.generate({ format: 'es', ...names })
  for (const { fileName, code } of output) await writeFile(path.join(out, fileName), withReferences(plainArrays(code)))
  await bundle.close()
  await rm(folder, { recursive: true, force: true })
}

/** Names the emitted files in imports, and takes the host's types from platform.d.ts. */
async function prepare(folder, name) {
  const file = path.join(folder, name)
  const text = await readFile(file, 'utf8')
  const code = text.replace(/\/\*[^]*?\*\/|\/\/.*/g, '')
  const names = [...new Set(code.match(PLATFORM) ?? [])]
  const up = path.posix.relative(path.posix.dirname(name.replaceAll(path.sep, '/')), 'platform.js')
  const shadows =
    names.length === 0 ? '' : `import type { ${names.join(', ')} } from '${up.startsWith('.') ? up : `./${up}`}';\n`
  const imports = text.replace(/(from\s+['"]|import\(['"])(\.{1,2}\/[^'"]+)\.ts(['"])/g, '$1$2.js$3')
  await writeFile(file, shadows + imports)
}

/** The compiler reads references to libraries at the top of a file alone. */
function withReferences(code) {
  const references = code.match(/^\/\/\/ <reference .*\n/gm) ?? []
  return references.join('') + references.reduce((text, each) => text.replace(each, ''), code)
}

/** Before TypeScript 5.7, the types of typed arrays have no parameter. */
function plainArrays(code) {
  return code.replace(/\b(\w+Array)<ArrayBuffer(?:Like)?>/g, '$1')
}
