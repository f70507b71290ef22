import { createRuntime, tensor } from 'heddle'
import { afterEach, describe, expect, it, vi } from 'vitest'

const same = tensor(new Float32Array(300 * 8).fill(1), [300, 8])
/** Without os.availableParallelism, what browsers have too; Node 20 has none. */
const { navigator } = globalThis as { navigator?: { hardwareConcurrency: number } }

afterEach(() => vi.restoreAllMocks())

/** As Deno does without `--allow-sys`: the module is there, and each question to the system throws. */
function forbidQuestions(): { asked: () => number } {
  const real = process.getBuiltinModule.bind(process)
  let asked = 0
  const refuse = (): never => {
    asked++
    throw Object.assign(new Error('Requires sys access to "systemMemoryInfo"'), { name: 'NotCapable' })
  }
  const guarded = { totalmem: refuse, availableParallelism: refuse }
  const stand = (id: string): unknown => (id === 'node:os' ? guarded : real(id))
  vi.spyOn(process, 'getBuiltinModule').mockImplementation(stand as typeof process.getBuiltinModule)
  vi.spyOn(process, 'constrainedMemory').mockImplementation(refuse)
  return { asked: () => asked }
}

describe('a host that forbids to ask about the machine', () => {
  it('has a runtime all the same, without a limit of the machine', async () => {
    const { asked } = forbidQuestions()
    const runtime = await createRuntime()
    expect(runtime.lanes).toHaveLength(navigator?.hardwareConcurrency ?? 1)
    const { output, report } = await runtime.attention({ query: same, key: same, value: same })
    expect(output.data.every((each) => Math.abs(each - 1) < 1e-6)).toBe(true)
    expect(report.plan.budgetBytes).toBeUndefined()
    expect(asked()).toBeGreaterThan(2)
    await runtime.close()
  })
})
