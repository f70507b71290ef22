import type { Runtime } from '../../attention/runtime.ts'
import { checkBoolean, checkInteger, checkNames } from '../../core/check.ts'
import type { SeedWords } from '../../core/philox.ts'
import type { Tensor } from '../../core/tensor.ts'
import type { Register } from '../../protocol/stage.ts'
import { checkForward, checkRows, dropoutSeed, planForward, rowsOfShape, runForward, type LayerResult } from '../forward-options.ts'
import type { KeyValueCache } from '../key-value-cache.ts'
import { Module } from '../module.ts'
import { deriveSeed, seedValue, seedWords } from '../../core/seed.ts'
import { RowBuffer } from '../stage/buffers.ts'
import type { LayerPlan } from '../stage/program-plan.ts'
import type { ProgramPart, StageProgram, WatchedLayer } from '../stage/program.ts'
import type { StageBuilder } from '../stage/stage-builder.ts'
import { LAYER_ATTENTION_NAMES, type LayerAttentionOptions } from './layer-attention-options.ts'
import { LayerNorm } from './layer-norm.ts'
import { BLOCK_NAMES, TransformerBlock, type BlockForward, type TransformerBlockOptions } from './transformer-block.ts'

export interface TransformerEncoderOptions extends TransformerBlockOptions {
  readonly layers: number
  /** A norm after the last block. @default true for pre-norm blocks */
  readonly finalNorm?: boolean
}

/** Far beyond any model; more would only be found out by making them. */
const MOST_LAYERS = 65_536

/** A pass through a stack of blocks, as a part of a larger program. */
export interface StackPass {
  readonly name: string
  readonly input: RowBuffer
  readonly options: LayerAttentionOptions
  /** one a block, or none */
  readonly caches: readonly KeyValueCache[]
  readonly seed: SeedWords | null
  /** what follows on the row of the last block, after the final norm */
  readonly after?: (builder: StageBuilder, row: Register) => Register
}

/**
 * Blocks one after the other, as PyTorch's TransformerEncoder; with `causal` a decoder-only stack. Parameters:
 * `layers.0.…`, `layers.1.…`, and `norm.*` where there is a final norm.
 */
export class TransformerEncoder extends Module {
  readonly modelDim: number
  readonly blocks: readonly TransformerBlock[]
  readonly finalNorm: LayerNorm | null

  /** @throws {OptionError} for unknown names and wrong values */
  constructor(options: TransformerEncoderOptions) {
    super()
    checkNames('TransformerEncoder: options', options, [...BLOCK_NAMES, 'layers', 'finalNorm'])
    const { layers, finalNorm = options.norm === 'pre', ...block } = options
    checkInteger('TransformerEncoder: option layers', layers, 1, MOST_LAYERS)
    checkBoolean('TransformerEncoder: option finalNorm', finalNorm)
    const words = seedWords('TransformerEncoder: option seed', options.seed ?? 0)
    this.blocks = Array.from({ length: layers }, (_, index) => this.addModule(`layers.${index}`, new TransformerBlock({ ...block, seed: seedValue(deriveSeed(words, index)) })))
    this.modelDim = options.modelDim
    this.finalNorm = finalNorm ? this.addModule('norm', new LayerNorm(options.modelDim, options.epsilon)) : null
  }

  /** Whether a forward pass drops anything now. */
  get drops(): boolean {
    return this.blocks.some((block) => block.drops)
  }

  /**
   * @param input [B, M, E] or [M, E]
   * @returns output of the input's shape
   * @throws {ShapeError} {OptionError} before anything is allocated; else as `runtime.attention`
   */
  async forward(input: Tensor, options: BlockForward = {}): Promise<LayerResult> {
    checkForward('TransformerEncoder', options, LAYER_ATTENTION_NAMES)
    const { batch, rows } = checkRows('TransformerEncoder: input', input, this.modelDim)
    const seed = dropoutSeed('TransformerEncoder', this.drops, options.seed)
    const program = this.build({ name: '', input: new RowBuffer('input', batch, rows, this.modelDim, input.data), options, caches: [], seed })
    const { data, report } = await runForward(program, options, [input])
    return { output: { data, shape: [...input.shape] }, report }
  }

  /** What `forward` would do and hold for an input of this shape, all blocks together. @throws {MemoryBudgetError} when nothing fits the budget */
  plan(runtime: Runtime, shape: readonly number[], options: LayerAttentionOptions = {}): LayerPlan {
    const { batch, rows } = rowsOfShape('TransformerEncoder: input', shape, this.modelDim)
    return planForward(this.build({ name: '', input: new RowBuffer('input', batch, rows, this.modelDim, null, true), options, caches: [], seed: null }), runtime)
  }

  /** @internal The stack as a program. */
  build(pass: StackPass): StageProgram & { readonly output: RowBuffer } {
    const parts: ProgramPart[] = []
    const watched: WatchedLayer[] = []
    let input = pass.input
    this.blocks.forEach((block, index) => {
      const last = index === this.blocks.length - 1
      const built = block.build({
        name: `${pass.name === '' ? '' : `${pass.name}.`}layers.${index}`,
        input,
        options: pass.options,
        cache: pass.caches[index] ?? null,
        seed: pass.seed === null ? null : deriveSeed(pass.seed, index),
        ...(last ? { after: (builder: StageBuilder, row: Register) => this.#afterLast(builder, row, pass) } : {}),
      })
      parts.push(...built.parts)
      watched.push(...built.watched)
      input = built.output
    })
    return { parts, output: input, watched }
  }

  #afterLast(builder: StageBuilder, row: Register, { after }: StackPass): Register {
    const normed = this.finalNorm === null ? row : this.finalNorm.apply(builder, row)
    return after === undefined ? normed : after(builder, normed)
  }
}
