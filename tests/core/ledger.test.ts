import { expect, it } from 'vitest'
import { Ledger } from '../../src/core/ledger.ts'

it('counts the peak of the whole and of each purpose, whatever is taken off later', () => {
  const ledger = new Ledger()
  ledger.add('output', 100)
  ledger.add('in flight', 30)
  ledger.remove('in flight', 30)
  ledger.add('lane arenas', 20)
  ledger.remove('output', 60)
  ledger.add('in flight', 10)
  expect(ledger.peakBytes).toBe(130)
  expect(ledger.peakByPurpose).toEqual({ output: 100, 'in flight': 30, 'lane arenas': 20 })
})
