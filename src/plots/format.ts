/** Milliseconds as they read best: `3.21 µs`, `4.05 ms`, `12.3 s`, `3 min 07 s`. */
export function formatDuration(ms: number): string {
  if (!Number.isFinite(ms)) return '?'
  if (ms < 1) return `${(ms * 1000).toPrecision(3)} µs`
  if (ms < 999.5) return `${ms.toPrecision(3)} ms`
  const seconds = ms / 1000
  if (seconds < 99.95) return `${seconds.toPrecision(3)} s`
  const whole = Math.round(seconds)
  return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`
}

/** An integer with its thousands apart: `65,536`. */
export function formatInteger(count: number): string {
  return Math.round(count).toLocaleString('en-US')
}

/** A number with three significant digits and no exponent where it can be helped. */
export function formatNumber(value: number): string {
  if (value < 0) return `−${formatNumber(-value)}`
  if (value === 0 || !Number.isFinite(value)) return String(value)
  if (value >= 1000) return formatInteger(value)
  return value >= 0.001 ? String(Number(value.toPrecision(3))) : value.toExponential(1)
}
