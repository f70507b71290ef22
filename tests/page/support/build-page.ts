import { fileURLToPath } from 'node:url'
import { build } from 'vite'

const DEMO = fileURLToPath(new URL('../../../demo', import.meta.url))

/** The page as `npm run demo:build` makes it, over the library in `dist/`. */
export async function setup(): Promise<void> {
  await build({ root: DEMO, configFile: `${DEMO}/vite.config.ts`, logLevel: 'warn' })
}
