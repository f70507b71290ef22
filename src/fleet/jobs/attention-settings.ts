/** The options of attention that a job carries. Window sizes are absent where unbounded: JSON has no Infinity. */
export interface AttentionSettings {
  readonly causal: boolean
  readonly queryOffset: number
  readonly windowBefore?: number
  readonly windowAfter?: number
  readonly softcap: number
  readonly scale?: number
  readonly alibiSlopes?: readonly number[]
  /** valid keys per batch; absent where all are */
  readonly keyLengths?: readonly number[]
}
