import { existsSync } from 'node:fs'
import { expect, test } from 'vitest'
import { checkMutations, MUTATIONS } from '../../../scripts/mutate/mutations.mjs'

test('every fault of npm run mutate still fits its source', async () => {
  await checkMutations(process.cwd())
})

test('each has a name of its own, and names test files that there are', () => {
  expect(new Set(MUTATIONS.map(({ what }) => what)).size).toBe(MUTATIONS.length)
  expect(MUTATIONS.flatMap(({ tests }) => tests).filter((file) => !existsSync(file))).toEqual([])
})
