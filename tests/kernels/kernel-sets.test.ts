import { describe, expect, it } from 'vitest'
import { ARENA_START, PARAMETERS } from '../../assembly/abi.ts'
import { binaries, gradientModules, modules } from './kernel-lane.ts'

/** What instances of these modules write to the memory while they are made. */
function constantsOf(parts: readonly WebAssembly.Module[]): Uint8Array {
  const memory = new WebAssembly.Memory({ initial: 1 })
  for (const part of parts) new WebAssembly.Instance(part, { env: { memory } })
  return new Uint8Array(memory.buffer)
}

describe.each(binaries)('kernels of attention and of gradients over one memory, %s', (binary) => {
  const [attention, gradients] = [modules[binary], gradientModules[binary]]

  it('have constants that do not overlap, in either order, below the parameters', () => {
    const [one, other, both] = [constantsOf([attention]), constantsOf([gradients]), constantsOf([attention, gradients])]
    const places = (bytes: Uint8Array) => [...bytes].flatMap((byte, at) => (byte === 0 ? [] : [at]))
    expect(Math.max(...places(one))).toBeLessThan(Math.min(...places(other)))
    expect(Math.max(...places(other))).toBeLessThan(PARAMETERS)
    expect(both).toEqual(constantsOf([gradients, attention]))
    expect(both.subarray(ARENA_START).every((byte) => byte === 0)).toBe(true)
  })

  it('share no name', () => {
    const names = (part: WebAssembly.Module) => WebAssembly.Module.exports(part).map(({ name }) => name)
    expect(names(attention).filter((name) => names(gradients).includes(name))).toEqual([])
  })
})
