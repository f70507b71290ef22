import { inspect } from 'node:util'
import { HeddleError, OptionError, ShapeError } from 'heddle'
import { describe, expect, it } from 'vitest'
import * as otherCopy from '../../src/core/errors.ts'

describe('HeddleError.is', () => {
  it('knows the errors of another copy of the package, for which instanceof is false', () => {
    const error = new otherCopy.OptionError('from another copy')
    expect(error).not.toBeInstanceOf(HeddleError)
    expect(HeddleError.is(error)).toBe(true)
    expect(OptionError.is(error)).toBe(true)
    expect(ShapeError.is(error)).toBe(false)
  })

  it('tells the classes of its own copy apart', () => {
    expect(OptionError.is(new OptionError('an option'))).toBe(true)
    expect(ShapeError.is(new OptionError('an option'))).toBe(false)
  })

  it('knows a class that a caller derives from one of ours', () => {
    class OwnError extends ShapeError {}
    expect(HeddleError.is(new OwnError('a shape'))).toBe(true)
    expect(OwnError.is(new OwnError('a shape'))).toBe(true)
    expect(OwnError.is(new ShapeError('a shape'))).toBe(false)
  })

  it.each([undefined, null, 'OptionError', new Error('other'), { code: 'OptionError' }, () => undefined])(
    'is false for %o',
    (value) => expect(HeddleError.is(value)).toBe(false),
  )

  it('leaves no trace in a printed error', () => {
    expect(inspect(new OptionError('an option'))).not.toContain('Symbol')
  })
})
