import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { defineConfig, type TestProjectConfiguration } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'
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

/**
 * What needs a process of its own: it changes globals, flags of V8 or how Comlink transfers errors, measures the
 * process, or ends it.
 */
const ALONE = [
  'tests/{cli,failures,fleet,kernels,protocol,scheduler,tfjs,webgpu}/**/*.test.ts',
  'tests/attention/{event-loop,large-chunks,portable-engines,resident-memory}.test.ts',
  'tests/nn/{commands,long-block}.test.ts',
  'tests/train/program-reuse.test.ts',
]

/** @param isolate whether each file gets a process of its own; others share two, which saves starting some 150 */
function nodeProject(name: string, isolate: boolean, files: { include: string[]; exclude: string[] }) {
  const test = {
    ...base,
    ...files,
    name,
    isolate,
    // Tests import `heddle` as a user does: the shipped build, untouched by vite.
    server: { deps: { external: [/\/dist\//] } },
  }
  return { plugins: [kernelBytes], test } satisfies TestProjectConfiguration
}

/** Files that share processes come last and in a row: a process goes on only with a file of its own project. */
class SharedLast extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    return sorted.toSorted((a, b) => Number(a.project.name === 'node') - Number(b.project.name === 'node'))
  }
}

export default defineConfig({
  test: {
    // On two cores vitest would run one file at a time; many tests wait for workers or for processes.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    sequence: { sequencer: SharedLast },
    projects: [
      nodeProject('node', false, {
        include: ['tests/**/*.test.ts'],
        exclude: ['tests/browser/**', 'tests/page/**', ...ALONE],
      }),
      nodeProject('node-alone', true, { include: ALONE, exclude: [] }),
      ...browserProjects(base),
      ...pageProjects(base),
    ],
  },
})
