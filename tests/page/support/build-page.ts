import { fileURLToPath } from 'node:url'
import { build } from 'vite'

const at = (path: string): string => fileURLToPath(new URL(`../../../${path}`, import.meta.url))

/**
 * The page as `npm run demo:build` makes it, over the library in `dist/`, and a page that has nothing but the library,
 * built in the same way.
 */
export async function setup(): Promise<void> {
  const configFile = at('demo/vite.config.ts')
  await build({ root: at('demo'), configFile, logLevel: 'warn' })
  const outDir = at('build/library-page')
  await build({ root: at('tests/page/library'), configFile, logLevel: 'warn', build: { outDir } })
}
