import path from 'node:path'
import { GROUPS } from './cases.mjs'
import { closeBrowser } from './in-page.mjs'
import { tryCase } from './try-case.mjs'

/** The quick cases of the matrix as checks: what CI tries of it. */
export function quickChecks({ tarball }, folder) {
  const cases = Object.values(GROUPS)
    .flat()
    .filter(({ quick }) => quick === true)
  const checks = cases.map((each) => ({
    name: `matrix: ${each.name}`,
    run: async () => {
      const { state, text } = await tryCase(each, { tarball, folder: path.join(folder, 'matrix') })
      if (state === 'fails' || (state === 'not tried' && process.env.HEDDLE_REQUIRE_BROWSER === '1'))
        throw new Error(text)
      return state === 'works' ? undefined : text
    },
  }))
  return [...checks, { name: 'matrix: its browser closes', run: closeBrowser }]
}
