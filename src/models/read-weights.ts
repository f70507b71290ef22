import { throwIfAborted } from '../core/abort.ts'
import { FormatError, NumericError } from '../core/errors.ts'
import { describe, formatShape } from '../core/tensor.ts'
import { ByteReader } from '../nn/state/byte-reader.ts'
import { decodeElements } from '../nn/state/safetensors-elements.ts'
import { ELEMENT_BYTES, parseHeader, readHeaderLength, type TensorEntry } from '../nn/state/safetensors-header.ts'
import type { Parameter } from '../program/parameter.ts'
import type { Family } from './families/family.ts'
import { readJson, type ModelFiles } from './model-source.ts'

/** How far `loadModel` has come. */
export interface LoadProgress {
  /** the file that is being read */
  readonly file: string
  /** bytes of weights read so far, and in all files whose headers were read */
  readonly loadedBytes: number
  /** bytes of weights in all files whose headers were read */
  readonly totalBytes: number
}

/** What became of the tensors of a model's files. */
export interface WeightReport {
  /** names of the files that hold weights */
  readonly files: readonly string[]
  /** element types among the tensors that were taken, such as BF16 */
  readonly types: readonly string[]
  /** tensors that hidden rows do not need, by their names in the files */
  readonly unused: readonly string[]
}

export interface WeightOptions {
  readonly family: Family
  readonly signal: AbortSignal | undefined
  readonly onProgress: ((progress: LoadProgress) => void) | undefined
  readonly allowNonFinite: boolean
}

const SINGLE = 'model.safetensors'
const INDEX = 'model.safetensors.index.json'
/** Elements that are decoded at once: beyond the parameters, memory holds that much of a tensor. */
const PIECE_ELEMENTS = 1 << 20

/** One file: its name, and the tensors that an index says are in it. */
interface Shard {
  readonly file: string
  readonly names: ReadonlySet<string> | null
}

/**
 * Fills parameters from a model's safetensors, file by file. Nothing of a file is read before its header was checked;
 * with an index, nothing at all before the names in it were.
 *
 * @throws {FormatError} for missing files, and with a list of every tensor that is missing, unexpected, misshapen or of
 *   a type that is not supported
 * @throws {NumericError} for NaN or an infinity
 */
export async function readWeights(
  files: ModelFiles,
  parameters: ReadonlyMap<string, Parameter>,
  options: WeightOptions,
): Promise<WeightReport> {
  const names = new TensorNames(options.family, parameters)
  const shards = await shardsOf(files, names, options.signal)
  const run = { names, options, loadedBytes: 0, totalBytes: 0, types: new Set<string>() }
  for (const shard of shards) await readShard(files, shard, run)
  names.expectAll()
  return { files: shards.map(({ file }) => file), types: [...run.types], unused: names.unused }
}

async function shardsOf(files: ModelFiles, names: TensorNames, signal: AbortSignal | undefined): Promise<Shard[]> {
  const index = await readJson(files, INDEX, signal)
  if (index === null) return [{ file: SINGLE, names: null }]
  const map = (index as { weight_map?: unknown }).weight_map
  if (typeof map !== 'object' || map === null || !Object.values(map).every((file) => typeof file === 'string')) {
    throw new FormatError(`loadModel: expected ${INDEX} to have a weight_map from names to files, got ${describe(map)}`)
  }
  names.check(
    Object.keys(map).map((name) => ({ name, shape: null })),
    INDEX,
  )
  names.expectAll()
  const shards = new Map<string, Set<string>>()
  for (const [name, file] of Object.entries(map as Record<string, string>))
    shards.set(file, (shards.get(file) ?? new Set()).add(name))
  return [...shards].map(([file, names]) => ({ file, names }))
}

interface Run {
  readonly names: TensorNames
  readonly options: WeightOptions
  readonly types: Set<string>
  loadedBytes: number
  totalBytes: number
}

async function readShard(files: ModelFiles, { file, names }: Shard, run: Run): Promise<void> {
  throwIfAborted(run.options.signal)
  const source = await files.open(file, run.options.signal)
  if (source === null)
    throw new FormatError(
      `loadModel: expected ${file} in ${files.place}, found none${names === null ? '' : `, though ${INDEX} names it`}`,
    )
  const reader = new ByteReader(source)
  try {
    const entries = await readEntries(reader, file)
    const strange =
      names === null
        ? []
        : [
            ...entries.filter(({ name }) => !names.has(name)).map(({ name }) => name),
            ...[...names].filter((name) => !entries.some((entry) => entry.name === name)),
          ]
    if (strange.length > 0)
      throw new FormatError(
        `loadModel: expected ${file} to hold the tensors that ${INDEX} lists for it; it differs in ${strange.join(', ')}`,
      )
    run.names.check(entries, file)
    if (names === null) run.names.expectAll()
    run.totalBytes += entries.at(-1)?.end ?? 0
    for (const entry of entries) await readTensor(reader, entry, file, run)
    await reader.expectEnd()
  } finally {
    await reader.close()
  }
}

/** What `git clone` leaves in place of a large file where git-lfs is not installed. */
const LFS_POINTER = 'version https://git-lfs'

/**
 * The tensors that a file's header lists. @throws {FormatError} that names the file; also where it is shorter or longer
 * than its header says, if its length is known
 */
async function readEntries(reader: ByteReader, file: string): Promise<readonly TensorEntry[]> {
  try {
    const start = await reader.take(8, 'the header length')
    if (new TextDecoder('latin1').decode(start) === LFS_POINTER.slice(0, start.length))
      throw new FormatError('expected tensors, got a Git LFS pointer: fetch the file itself with `git lfs pull`')
    const headerBytes = readHeaderLength(start)
    const { entries } = parseHeader(await reader.take(headerBytes, 'the header'))
    reader.expectLength(start.length + headerBytes + (entries.at(-1)?.end ?? 0))
    return entries
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    throw new FormatError(`loadModel: ${file}: ${error.message}`, { cause: error })
  }
}

/** Piece by piece into its parameter, if it has one. */
async function readTensor(reader: ByteReader, entry: TensorEntry, file: string, run: Run): Promise<void> {
  const { names, options } = run
  const target = names.parameterOf(entry.name)
  const place = target === null ? () => undefined : placer(target, names.isTransposed(entry.name))
  for (let from = 0; from < entry.elements; from += PIECE_ELEMENTS) {
    throwIfAborted(options.signal)
    const elements = Math.min(PIECE_ELEMENTS, entry.elements - from)
    const bytes = await reader.take(elements * ELEMENT_BYTES[entry.type], entry.name)
    if (target !== null) {
      const { data } = decodeElements({ ...entry, elements, shape: [elements] }, bytes)
      if (!options.allowNonFinite) refuseNonFinite(entry.name, data, from)
      place(data as Float32Array, from)
    }
    run.loadedBytes += bytes.length
    options.onProgress?.({ file, loadedBytes: run.loadedBytes, totalBytes: run.totalBytes })
  }
  if (target === null) return
  run.types.add(entry.type)
  target.touch()
}

/** @throws {NumericError} */
function refuseNonFinite(name: string, data: ArrayLike<number>, from: number): void {
  for (let index = 0; index < data.length; index++) {
    if (!Number.isFinite(data[index]))
      throw new NumericError(
        `loadModel: expected finite weights, got ${data[index]} at element ${from + index} of ${name}`,
        { details: { name, element: from + index } },
      )
  }
}

/** Where a tensor's elements go: as they come, or from [in, out] to [out, in]. */
function placer({ data, shape }: Parameter, transposed: boolean): (elements: Float32Array, from: number) => void {
  if (!transposed) return (elements, from) => data.set(elements, from)
  const [out = 1, inSize = 1] = shape
  return (elements, from) =>
    elements.forEach(
      (value, index) => (data[((from + index) % out) * inSize + Math.floor((from + index) / out)] = value),
    )
}

const FLOATS: readonly string[] = ['F64', 'F32', 'F16', 'BF16']

/** Names in files against those of parameters. */
class TensorNames {
  readonly #seen = new Set<string>()
  readonly #unused = new Set<string>()

  constructor(
    readonly family: Family,
    readonly parameters: ReadonlyMap<string, Parameter>,
  ) {}

  get unused(): string[] {
    return [...this.#unused]
  }

  parameterOf(name: string): Parameter | null {
    return this.parameters.get(this.#own(name)) ?? null
  }

  isTransposed(name: string): boolean {
    return this.family.transposed?.test(this.#own(name)) ?? false
  }

  /** @throws {FormatError} that lists every tensor that does not fit the model */
  check(
    tensors: readonly { readonly name: string; readonly shape: readonly number[] | null; readonly type?: string }[],
    file: string,
  ): void {
    const wrong: string[] = []
    for (const { name, shape, type } of tensors) {
      const parameter = this.parameterOf(name)
      if (parameter === null) {
        if (this.family.unused.some((pattern) => pattern.test(this.#own(name)) || pattern.test(name)))
          this.#unused.add(name)
        else wrong.push(`unexpected ${name}`)
        continue
      }
      this.#seen.add(this.#own(name))
      const expected = this.isTransposed(name) ? parameter.shape.toReversed() : parameter.shape
      if (shape !== null && String(shape) !== String(expected))
        wrong.push(`${name} (expected ${formatShape(expected)}, got ${formatShape(shape)})`)
      if (type !== undefined && !FLOATS.includes(type))
        wrong.push(`${name} (expected a dtype among ${FLOATS.join(', ')}, got ${type})`)
    }
    if (wrong.length > 0)
      throw new FormatError(
        `loadModel: expected ${file} to hold tensors of the ${this.family.name} model that config.json describes; ${wrong.join('; ')}`,
        { details: { wrong } },
      )
  }

  /** @throws {FormatError} that lists every parameter that no tensor was found for */
  expectAll(): void {
    const missing = [...this.parameters.keys()].filter((name) => !this.#seen.has(name))
    if (missing.length > 0)
      throw new FormatError(
        `loadModel: expected tensors for every parameter of the ${this.family.name} model; missing ${missing.join(', ')}`,
        { details: { missing } },
      )
  }

  /** The name without what the class that saved it put before it. */
  #own(name: string): string {
    const prefix = this.family.prefixes.find((each) => name.startsWith(each)) ?? ''
    const own = name.slice(prefix.length)
    return this.family.rename?.(own) ?? own
  }
}
