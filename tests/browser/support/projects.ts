import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { playwright } from '@vitest/browser-playwright'
import type { TestProjectConfiguration } from 'vitest/config'
import { findChromium } from './find-chromium.ts'

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const ISOLATION = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' }

/** Bundled before the first test: a page that is reloaded in the middle for a new one would run tests twice. */
const DEPENDENCIES = [
  'comlink',
  '@tensorflow/tfjs-core',
  '@tensorflow/tfjs-core/dist/register_all_gradients',
  '@tensorflow/tfjs-backend-webgpu',
]

/** WebGPU on SwiftShader, and no connection that a closed network would refuse. */
const FLAGS = [
  '--no-sandbox',
  '--enable-unsafe-webgpu',
  '--enable-dawn-features=disable_workgroup_init',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/**
 * The browser tests twice: on a page that is cross-origin isolated (shared memory), and on one that is not (transfer).
 * None where no Chromium is found.
 * @throws as `findChromium` does
 */
export function browserProjects(base: { readonly setupFiles: string[] }): TestProjectConfiguration[] {
  const executablePath = findChromium()
  if (executablePath === undefined) return []
  return [
    project('browser-isolated', executablePath, true, base),
    project('browser-plain', executablePath, false, base),
  ]
}

/** Tests of the page: Node drives the browser. None where no Chromium is found. */
export function pageProjects(base: { readonly setupFiles: string[] }): TestProjectConfiguration[] {
  if (findChromium() === undefined) return []
  const test = {
    ...base,
    name: 'page',
    include: ['tests/page/**/*.test.ts'],
    globalSetup: 'tests/page/support/build-page.ts',
    testTimeout: 60_000,
    hookTimeout: 60_000,
  }
  return [{ test }]
}

function project(
  name: string,
  executablePath: string,
  isolated: boolean,
  base: { readonly setupFiles: string[] },
): TestProjectConfiguration {
  return {
    // Tests import `heddle` as a user does.
    resolve: {
      alias: [
        { find: /^heddle$/, replacement: join(ROOT, 'dist/index.js') },
        { find: /^heddle\/(\w+)$/, replacement: join(ROOT, 'dist/$1.js') },
      ],
    },
    optimizeDeps: { include: DEPENDENCIES, entries: [] },
    cacheDir: join(ROOT, 'node_modules/.vite', name),
    server: { headers: isolated ? ISOLATION : {} },
    test: {
      ...base,
      // Software WebGPU compiles slowly when others use the machine.
      testTimeout: 60_000,
      name,
      include: ['tests/browser/**/*.test.ts'],
      provide: { isolated },
      browser: {
        enabled: true,
        headless: true,
        // One page at a time. `test.fileParallelism` would also hold this project back until all others are done.
        fileParallelism: false,
        screenshotFailures: false,
        provider: playwright({ launchOptions: { executablePath, args: FLAGS } }),
        instances: [{ browser: 'chromium', name: `${name} (chromium)` }],
      },
    },
  }
}

declare module 'vitest' {
  interface ProvidedContext {
    /** whether this page may share memory with workers */
    readonly isolated: boolean
  }
}
