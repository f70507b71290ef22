import { describe, expect, it } from 'vitest'
import { changeParameters, readParameters } from '../../src/program/parameter-access.ts'
import { Parameter } from '../../src/program/parameter.ts'

/** A promise to be settled from outside, and what happened so far. */
function gate(): { readonly promise: Promise<void>; open: () => void } {
  let open = (): void => undefined
  const promise = new Promise<void>((resolve) => (open = resolve))
  return { promise, open: () => open() }
}
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('access to parameters', () => {
  const [a, b] = [new Parameter([1]), new Parameter([1])]

  it('lets a change wait for those who read, and later readers wait for the change', async () => {
    const happened: string[] = []
    const first = gate()
    const reads = readParameters([a], () => first.promise.then(() => void happened.push('first read')))
    const change = changeParameters([a, b], () => void happened.push('change'))
    const later = readParameters([b], () => Promise.resolve(void happened.push('later read')))
    await turn()
    expect(happened).toEqual([])
    first.open()
    await Promise.all([reads, change, later])
    expect(happened).toEqual(['first read', 'change', 'later read'])
  })

  it('does not hold up what is about other parameters', async () => {
    const first = gate()
    const reads = readParameters([a], () => first.promise)
    const change = changeParameters([a], () => undefined)
    let [read, changed] = [false, false]
    await readParameters([b], () => Promise.resolve(void (read = true)))
    await changeParameters([b], () => void (changed = true))
    expect([read, changed]).toEqual([true, true])
    first.open()
    await Promise.all([reads, change])
  })

  it('keeps changes in order, and goes on after failures', async () => {
    const happened: number[] = []
    const first = gate()
    const reads = readParameters([a], () => first.promise.then(() => Promise.reject(new Error('lost'))))
    const changes = [1, 2, 3].map((number) =>
      changeParameters([a], () => {
        happened.push(number)
        if (number === 2) throw new Error('refused')
      }),
    )
    first.open()
    expect((await Promise.allSettled([reads, ...changes])).map(({ status }) => status)).toEqual([
      'rejected',
      'fulfilled',
      'rejected',
      'fulfilled',
    ])
    expect(happened).toEqual([1, 2, 3])
    await readParameters([a], () => Promise.resolve())
  })
})
