import { inject } from 'vitest'

/**
 * Every so manieth case for pages with cross-origin isolation, and as many others for pages without: for kernels, which
 * know nothing of it, and whose cases take seconds on a software adapter.
 *
 * @param every 2 for all cases on one page or the other; more where other tests try them all
 */
export function everyOther<Case>(cases: readonly Case[], every = 2): Case[] {
  const first = inject('isolated') ? 0 : every / 2
  return cases.filter((_, index) => index % every === first)
}
