import { defineConfig } from 'vitest/config'
import { browserProjects } from './tests/browser/support/projects.ts'

const base = {
  // The matcher toMatchOracle.
  setupFiles: ['tests/support/closeness.ts'],
  testTimeout: 20_000,
  hookTimeout: 20_000,
}

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          ...base,
          name: 'node',
          include: ['tests/**/*.test.ts'],
          exclude: ['tests/browser/**'],
          // Tests import `heddle` as a user does: the shipped build, untouched by vite.
          server: { deps: { external: [/\/dist\//] } },
        },
      },
      ...browserProjects(base),
    ],
  },
})
