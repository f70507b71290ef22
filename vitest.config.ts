import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'
import { browserProjects, pageProjects } from './tests/browser/support/projects.ts'

const base = {
  // The matcher toMatchOracle.
  setupFiles: ['tests/support/closeness.ts'],
  testTimeout: 20_000,
  hookTimeout: 20_000,
}

/** Where a test imports source files: kernels as the build makes them, compressed ones in base64, others as bytes. */
const kernelBytes = {
  name: 'kernel-bytes',
  enforce: 'pre' as const,
  load: (id: string) => {
    const [, kind] = /\.(wasm|deflate)$/.exec(id) ?? []
    if (kind === undefined) return undefined
    const text = `'${readFileSync(id).toString('base64')}'`
    return `export default ${kind === 'wasm' ? `Uint8Array.from(atob(${text}), (each) => each.charCodeAt(0))` : text}`
  },
}

export default defineConfig({
  test: {
    // On two cores vitest would run one file at a time; many tests wait for workers or for processes.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    projects: [
      {
        plugins: [kernelBytes],
        test: {
          ...base,
          name: 'node',
          include: ['tests/**/*.test.ts'],
          exclude: ['tests/browser/**', 'tests/page/**'],
          // Tests import `heddle` as a user does: the shipped build, untouched by vite.
          server: { deps: { external: [/\/dist\//] } },
        },
      },
      ...browserProjects(base),
      ...pageProjects(base),
    ],
  },
})
