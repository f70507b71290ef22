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

/** Where a test imports source files: kernels as bytes, as the build makes them. */
const kernelBytes = {
  name: 'kernel-bytes',
  enforce: 'pre' as const,
  load: (id: string) =>
    /\.wasm(\.deflate)?$/.test(id)
      ? `export default Uint8Array.from(atob('${readFileSync(id).toString('base64')}'), (each) => each.charCodeAt(0))`
      : undefined,
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
