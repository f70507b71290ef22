import { checkInteger } from '../../core/check.ts'
import { OptionError } from '../../core/errors.ts'
import type { Tensor } from '../../core/tensor.ts'
import type { Graph } from '../../program/graph.ts'
import type { Value } from '../../program/operation.ts'
import type { LayerAttentionOptions } from './layer-attention-options.ts'

/** Which earlier tokens a token sees. */
export interface TokenReach {
  /** Each token sees so many tokens, itself included. @default all before it */
  readonly window?: number
  /**
   * Each token also sees the first so many tokens of its sequence (attention sinks, Xiao et al. 2024). Needs `window`.
   * A call then makes a mask of a byte per new token and earlier token.
   *
   * @default 0
   */
  readonly sinks?: number
}

/** @throws {OptionError} for wrong values, and for sinks without a window */
export function checkReach(what: string, { window, sinks }: TokenReach): void {
  if (window !== undefined) checkInteger(`${what}: option window`, window, 1)
  if (sinks !== undefined) checkInteger(`${what}: option sinks`, sinks, 0)
  if (sinks !== undefined && sinks > 0 && window === undefined)
    throw new OptionError(
      `${what}: expected option window with sinks, got none: without one every token sees the first ones`,
    )
}

/** The options of causal attention that this stands for. */
export function reachOptions(
  graph: Graph,
  { rows }: Value,
  { window, sinks = 0 }: TokenReach,
): Pick<LayerAttentionOptions, 'window' | 'mask'> {
  if (window === undefined || window + sinks >= graph.position + rows) return {}
  if (sinks === 0) return { window: { before: window - 1 } }
  return { mask: maskOf(graph, rows, window, sinks) }
}

/**
 * [B, M, N], or [1, M, N] where all sequences stand at the same position: the first tokens and the window, up to the
 * row's own.
 */
function maskOf({ positions, position }: Graph, rows: number, window: number, sinks: number): Tensor<Uint8Array> {
  const keys = position + rows
  const data = new Uint8Array(positions.length * rows * keys)
  positions.forEach((first, b) => {
    for (let row = 0; row < rows; row++) {
      const start = (b * rows + row) * keys
      const own = first + row
      data.fill(1, start, start + Math.min(sinks, own + 1))
      data.fill(1, start + Math.max(0, own - window + 1), start + own + 1)
    }
  })
  return { data, shape: [positions.length, rows, keys] }
}
