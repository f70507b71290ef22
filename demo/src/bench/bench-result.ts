/** How attention was computed. */
export const MODES = ['chunked', 'standard', 'tfjs'] as const
export type Mode = (typeof MODES)[number]

/** One length in one mode: the median time, and the bytes that its allocator counted at the peak. */
export interface BenchPoint {
  readonly mode: Mode
  readonly tokens: number
  readonly elapsedMs: number
  readonly peakBytes: number
}

/** What a visitor's machine measured, as it is shared. */
export interface BenchResult {
  readonly format: 'heddle-page-bench/1'
  readonly date: string
  readonly cores: number
  readonly lanes: readonly string[]
  readonly isolated: boolean
  readonly points: readonly BenchPoint[]
}

/** What of a result is shared: its own fields, whatever else its points may carry. */
export function formatResult({ points, ...result }: BenchResult, space?: number): string {
  const shared = points.map(({ mode, tokens, elapsedMs, peakBytes }) => ({ mode, tokens, elapsedMs, peakBytes }))
  return JSON.stringify({ ...result, points: shared }, null, space)
}

/** A result as a part of an address. */
export function encodeResult(result: BenchResult): string {
  const bytes = new TextEncoder().encode(formatResult(result))
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '')
}

/**
 * The result that an address carries; null where it is none. What comes from an address is checked: anyone can make
 * one.
 */
export function decodeResult(encoded: string): BenchResult | null {
  try {
    const binary = atob(encoded.replaceAll('-', '+').replaceAll('_', '/'))
    const value: unknown = JSON.parse(
      new TextDecoder('utf-8', { fatal: true }).decode(Uint8Array.from(binary, (each) => each.charCodeAt(0))),
    )
    return isResult(value) ? value : null
  } catch {
    return null
  }
}

function isResult(value: unknown): value is BenchResult {
  const { format, date, cores, lanes, isolated, points } = (value ?? {}) as Partial<BenchResult>
  return (
    format === 'heddle-page-bench/1' &&
    typeof date === 'string' &&
    !Number.isNaN(Date.parse(date)) &&
    isAmount(cores) &&
    typeof isolated === 'boolean' &&
    Array.isArray(lanes) &&
    lanes.length <= 256 &&
    lanes.every((lane) => typeof lane === 'string') &&
    Array.isArray(points) &&
    points.length > 0 &&
    points.length <= 64 &&
    points.every(isPoint)
  )
}

function isPoint(value: unknown): value is BenchPoint {
  const { mode, tokens, elapsedMs, peakBytes } = (value ?? {}) as Partial<BenchPoint>
  return MODES.some((each) => each === mode) && isAmount(tokens) && isAmount(elapsedMs) && isAmount(peakBytes)
}

function isAmount(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value > 0
}
