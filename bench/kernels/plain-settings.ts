import type { AttentionSettings } from '../../src/protocol/task.ts'

/** Settings of a lane's task without any option but `causal`. */
export function plainSettings(keys: number, headSize: number, causal: boolean): AttentionSettings {
  return {
    keys,
    headSize,
    valueSize: headSize,
    scale: 1 / Math.sqrt(headSize),
    softcap: 0,
    causal,
    windowBefore: Infinity,
    windowAfter: Infinity,
    dropout: null,
    standard: false,
  }
}
