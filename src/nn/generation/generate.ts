import { throwIfAborted } from '../../core/abort.ts'
import { NumericError } from '../../core/errors.ts'
import type { Tensor } from '../../core/tensor.ts'
import { defaultRuntime } from '../../attention/default-runtime.ts'
import { Graph } from '../../program/graph.ts'
import type { Value } from '../../program/operation.ts'
import type { ProgramResult } from '../../program/run.ts'
import { appendRows, type KeyValueCache } from '../key-value-cache.ts'
import { tokensOf } from '../layers/embedding.ts'
import type { TokenReach } from '../layers/token-reach.ts'
import { runForward } from '../run-forward.ts'
import { resolveGeneration, type GenerateOptions, type GeneratedToken, type Generation } from './options.ts'
import { readPrompts, type Prompt, type Prompts } from './prompts.ts'

/** What generation asks of a model. */
export interface DecoderModel {
  readonly vocabulary: number
  readonly modelDim: number
  createCaches(batch: number, capacity: number): KeyValueCache[]
  buildHidden(graph: Graph, tokens: Value, options: { readonly caches?: readonly KeyValueCache[] } & TokenReach): Value
  buildHead(graph: Graph, hidden: Value): Value
}

/**
 * Prompts that go through the model piece by piece where sinks need a mask: it grows with the rows of a call times all
 * before them.
 */
const PIECE_ROWS = 512

/**
 * Prefill with the prompts, then one row per step and sequence. Each sequence has its own length in the caches, so that
 * its arithmetic is that of a run alone.
 *
 * @returns the prompts and what follows them: a tensor for a tensor, else one array per prompt, which ends with its
 *   stop token
 * @throws {NumericError} where a logit is NaN or +∞: a model that holds NaN, or whose activations overflow
 */
export async function generateTokens(
  model: DecoderModel,
  given: Tensor<Int32Array> | readonly Prompt[],
  options: GenerateOptions,
): Promise<Tensor<Int32Array> | Int32Array[]> {
  const { prompts, generation } = checkGeneration(model, given, options)
  const rows = rowsOf(prompts, generation)
  const tokens = tokensOneByOne(model, prompts, generation, rows)
  while (!(await tokens.next()).done);
  if (!('shape' in given)) return rows.map(({ tokens: all, length }) => all.slice(0, length))
  const capacity = prompts.longest + generation.maxNewTokens
  const data = new Int32Array(prompts.batch * capacity)
  // A sequence that ended is filled up with the token that ended it.
  rows.forEach((row, b) => data.set(row.tokens.fill(row.tokens[row.length - 1] ?? 0, row.length), b * capacity))
  return { data, shape: given.shape.length === 1 ? [capacity] : [prompts.batch, capacity] }
}

/**
 * The new tokens as they are chosen, step by step, in the order of the prompts. @throws as `generateTokens`; for wrong
 * arguments at once
 */
export function streamTokens(
  model: DecoderModel,
  given: Tensor<Int32Array> | readonly Prompt[],
  options: GenerateOptions,
): AsyncGenerator<GeneratedToken, void, undefined> {
  const { prompts, generation } = checkGeneration(model, given, options)
  return tokensOneByOne(model, prompts, generation, rowsOf(prompts, generation))
}

function checkGeneration(
  model: DecoderModel,
  given: Tensor<Int32Array> | readonly Prompt[],
  options: GenerateOptions,
): { prompts: Prompts; generation: Generation } {
  const prompts = readPrompts('generate: prompt', given, model.vocabulary)
  return { prompts, generation: resolveGeneration(options, model.vocabulary, prompts.batch) }
}

/** A sequence: its prompt, and behind it what was chosen. */
interface Row {
  readonly tokens: Int32Array
  length: number
  running: boolean
}

function rowsOf({ lengths, longest, tokens }: Prompts, { maxNewTokens }: Generation): Row[] {
  return lengths.map((length, b) => {
    const all = new Int32Array(length + maxNewTokens)
    all.set(tokens.subarray(b * longest, b * longest + length))
    return { tokens: all, length, running: true }
  })
}

async function* tokensOneByOne(
  model: DecoderModel,
  prompts: Prompts,
  generation: Generation,
  rows: readonly Row[],
): AsyncGenerator<GeneratedToken, void, undefined> {
  const {
    maxNewTokens,
    onToken,
    stops,
    forward: { signal },
  } = generation
  const decoder = new Decoder(model, generation, prompts.batch, prompts.longest + maxNewTokens)
  let logits = await decoder.readPrompts(prompts)
  for (let step = 0; step < maxNewTokens; step++) {
    throwIfAborted(signal)
    for (const [batch, row] of rows.entries()) {
      if (!row.running) continue
      const position = row.length
      const token = chooseToken(
        logits.subarray(batch * model.vocabulary, (batch + 1) * model.vocabulary),
        row,
        batch,
        generation,
      )
      row.tokens[row.length++] = token
      row.running = !stops(token, batch)
      onToken?.({ batch, position, token })
      yield { batch, position, token }
    }
    if (step + 1 === maxNewTokens || !rows.some(({ running }) => running)) return
    throwIfAborted(signal)
    // A sequence that has ended goes through the model beside the others, but adds nothing to the caches.
    logits = await decoder.readOne(
      Int32Array.from(rows, ({ tokens, length }) => tokens[length - 1] ?? 0),
      rows.map(({ running }) => (running ? 1 : 0)),
    )
  }
}

function chooseToken(logits: Float32Array, { tokens, length }: Row, batch: number, { choose }: Generation): number {
  checkLogits(logits, batch, length)
  return choose(logits, { batch, position: length, tokens: tokens.subarray(0, length) })
}

/** The model and its caches. */
class Decoder {
  readonly #caches: readonly KeyValueCache[]

  constructor(
    private readonly model: DecoderModel,
    private readonly generation: Generation,
    private readonly batch: number,
    capacity: number,
  ) {
    this.#caches = model.createCaches(batch, capacity)
  }

  /** @returns logits [B, vocabulary] after each prompt's last token: the head is for these rows alone */
  async readPrompts({ lengths, longest, tokens }: Prompts): Promise<Float32Array> {
    const { modelDim } = this.model
    const last = new Float32Array(this.batch * modelDim)
    const pieceRows = (this.generation.reach.sinks ?? 0) > 0 ? PIECE_ROWS : longest
    for (let start = 0; start < longest; start += pieceRows) {
      throwIfAborted(this.generation.forward.signal)
      const rows = Math.min(pieceRows, longest - start)
      const piece = new Int32Array(this.batch * rows)
      lengths.forEach((_, b) => piece.set(tokens.subarray(b * longest + start, b * longest + start + rows), b * rows))
      const counts = lengths.map((length) => Math.max(0, Math.min(rows, length - start)))
      const hidden = await this.#read(piece, counts, (_, output) => output)
      counts.forEach((count, b) => {
        const from = (b * rows + count - 1) * modelDim
        if (count > 0) last.set(hidden.subarray(from, from + modelDim), b * modelDim)
      })
    }
    const graph = new Graph()
    const rows = graph.input('last rows', { batch: this.batch, rows: 1, width: modelDim }, last)
    const { data } = await this.#run(graph, this.model.buildHead(graph, rows))
    return data[0] as Float32Array
  }

  /**
   * One token per sequence. Model and head are one run: two would take turns with the lanes' room for packed weights.
   *
   * @param counts 0 for a sequence that has ended
   * @returns logits [B, vocabulary]
   */
  readOne(tokens: Int32Array, counts: readonly number[]): Promise<Float32Array> {
    return this.#read(tokens, counts, (graph, hidden) => this.model.buildHead(graph, hidden))
  }

  /**
   * Runs tokens [B, rows] behind what the caches hold.
   *
   * @param counts of each sequence's tokens, those that are its own; the rest fills up
   * @param build makes the output of the hidden rows
   */
  async #read(
    tokens: Int32Array,
    counts: readonly number[],
    build: (graph: Graph, hidden: Value) => Value,
  ): Promise<Float32Array> {
    const {
      model,
      batch,
      generation: { forward, reach },
    } = this
    const rows = tokens.length / batch
    const { data } = await appendRows(this.#caches, counts, forward.signal, () => {
      const graph = new Graph({ position: Array.from(this.#caches[0]?.lengths ?? [0]) })
      const hidden = model.buildHidden(graph, tokensOf(graph, 'generate', [batch, rows], tokens), {
        caches: this.#caches,
        ...reach,
      })
      return this.#run(graph, build(graph, hidden))
    })
    return data[0] as Float32Array
  }

  async #run(graph: Graph, output: Value): Promise<ProgramResult> {
    const { forward } = this.generation
    const runtime = forward.runtime ?? (await defaultRuntime())
    return runForward(graph, output, runtime, forward, [])
  }
}

/** @throws {NumericError} where no token is the likeliest. −∞ is a token that never comes, but one of them must. */
function checkLogits(logits: Float32Array, batch: number, position: number): void {
  let wrong = logits.findIndex((logit) => !(logit < Infinity))
  if (wrong < 0 && logits.every((logit) => logit === -Infinity)) wrong = 0
  if (wrong < 0) return
  const where = `token ${wrong} at position ${position} of batch ${batch}`
  throw new NumericError(`generate: expected finite logits, got ${logits[wrong]} for ${where}`, {
    details: { batch, position, token: wrong },
  })
}
