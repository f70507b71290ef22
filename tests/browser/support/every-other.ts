import { inject } from 'vitest'

/**
 * Half of the cases for pages with cross-origin isolation, the other half for pages without: for kernels, which know
 * nothing of it, and whose cases take seconds on a software adapter.
 */
export function everyOther<Case>(cases: readonly Case[]): Case[] {
  return cases.filter((_, index) => (index % 2 === 0) === inject('isolated'))
}
