import type { AttentionBackwardInputs } from './backward-options.ts'

/** The data of each input of a backward call. */
export type BackwardArrays = Readonly<Record<keyof AttentionBackwardInputs, Float32Array>>

/** The inputs' data, each read once. */
export function backwardArrays({
  query,
  key,
  value,
  output,
  logSumExp,
  dOutput,
}: AttentionBackwardInputs): BackwardArrays {
  return {
    query: query.data,
    key: key.data,
    value: value.data,
    output: output.data,
    logSumExp: logSumExp.data,
    dOutput: dOutput.data,
  }
}
