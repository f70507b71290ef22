import { batch, computed, signal } from '@preact/signals'
import { runtimeNow } from '../host.ts'
import { route } from '../route.ts'
import { decodeResult, type BenchPoint, type BenchResult } from './bench-result.ts'
import { runBench, type BenchStep } from './bench-run.ts'

export const LENGTHS = {
  short: [512, 1024, 2048],
  medium: [512, 1024, 2048, 4096, 8192],
  long: [1024, 2048, 4096, 8192, 16_384, 32_768],
} as const
export type Extent = keyof typeof LENGTHS

export type BenchState = 'empty' | 'running' | 'finished' | 'stopped' | 'failed'

export const extent = signal<Extent>('medium')
export const state = signal<BenchState>('empty')
export const step = signal<BenchStep | null>(null)
export const points = signal<readonly BenchPoint[]>([])
export const failure = signal<unknown>(null)

/** What an address carries: undefined for none, null for something else than a result. */
export const shared = computed(() =>
  route.value.view === 'bench' && route.value.rest !== '' ? decodeResult(route.value.rest) : undefined,
)

let abort = new AbortController()

export async function start(): Promise<void> {
  const { signal: aborted } = (abort = new AbortController())
  batch(() => {
    state.value = 'running'
    points.value = []
    step.value = null
  })
  try {
    await runBench(runtimeNow(), LENGTHS[extent.value], {
      signal: aborted,
      onPoint: (point) => {
        points.value = [...points.value, point]
      },
      onStep: (next) => {
        step.value = next
      },
    })
    state.value = 'finished'
  } catch (error) {
    if (!aborted.aborted) failure.value = error
    state.value = aborted.aborted ? 'stopped' : 'failed'
  }
}

export function stop(): void {
  abort.abort(new DOMException('stopped', 'AbortError'))
}

/** What was measured, as it is shared. */
export function ownResult(): BenchResult {
  const { capabilities, lanes } = runtimeNow()
  return {
    format: 'heddle-page-bench/1',
    date: new Date().toISOString(),
    cores: capabilities.cores,
    lanes: lanes.map(({ kind, kernels }) => kernels ?? kind),
    isolated: capabilities.threads,
    points: points.value,
  }
}
