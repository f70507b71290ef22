import { judge } from './call.mjs'
import { NotTried } from './project.mjs'

/** What a case came to: its state ('works', 'fails' or 'not tried') and, in words, the result or the reason. */
export async function tryCase(each, context) {
  const { expect = 'workers', result, run } = each
  try {
    const outcome = await run(context)
    return { state: 'works', text: result ?? judge(outcome, expect) }
  } catch (error) {
    if (error instanceof NotTried) return { state: 'not tried', text: error.message }
    return { state: 'fails', text: error.message }
  }
}
