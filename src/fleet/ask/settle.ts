import { untilAborted } from '../../core/abort.ts'

/** What `work` comes to, unless one of the signals aborts first: then its reason. */
export function settle<Result>(
  work: Promise<Result>,
  ...signals: readonly (AbortSignal | undefined)[]
): Promise<Result> {
  return signals.reduce((waiting, signal) => untilAborted(waiting, signal), work)
}
