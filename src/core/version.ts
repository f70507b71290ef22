declare const HEDDLE_VERSION: string | undefined

/** The version of this build; `0.0.0` when it runs from source. */
export const version: string = typeof HEDDLE_VERSION === 'string' ? HEDDLE_VERSION : '0.0.0'
