import { readFileSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import type { Backend } from '../../src/backends/backend.ts'
import { createWasmBackend } from '../../src/backends/wasm/engine.ts'
import type { AttentionTask, AttentionTaskResult, TaskArray } from '../../src/protocol/task.ts'
import type { AttentionInputs, MathOptions } from '../support/problem.ts'

/** The shipped binaries. Node 20 knows relaxed SIMD behind a flag, which must be set before the first such module. */
const bytesOfRelaxed = readFileSync('build/heddle-attention-relaxed.wasm')
if (!WebAssembly.validate(bytesOfRelaxed)) setFlagsFromString('--experimental-wasm-relaxed-simd')

export const modules = {
  simd: new WebAssembly.Module(readFileSync('build/heddle-attention-simd.wasm')),
  relaxed: new WebAssembly.Module(bytesOfRelaxed),
} as const
export const gradientModules = {
  simd: new WebAssembly.Module(readFileSync('build/heddle-gradients-simd.wasm')),
  relaxed: new WebAssembly.Module(readFileSync('build/heddle-gradients-relaxed.wasm')),
} as const
export const rowModules = {
  simd: new WebAssembly.Module(readFileSync('build/heddle-rows-simd.wasm')),
  relaxed: new WebAssembly.Module(readFileSync('build/heddle-rows-relaxed.wasm')),
} as const
export type Binary = keyof typeof modules
export const binaries = Object.keys(modules) as Binary[]

const backends = new Map<Binary, Backend>()

/** One backend a binary for the whole file, so that a task meets what earlier ones left in the arena. */
export function backendOf(binary: Binary): Backend {
  const backend =
    backends.get(binary) ?? createWasmBackend([modules[binary]], () => Promise.resolve(gradientModules[binary]))
  backends.set(binary, backend)
  return backend
}

/** A bit pattern that no kernel writes: a NaN with a payload of its own. */
const POISON = 0x7fc0dead
export const GUARD = 67

/** An array of `length` in the middle of a poisoned one. */
export class Guarded {
  readonly whole: Int32Array
  readonly floats: Float32Array
  constructor(readonly length: number) {
    this.whole = new Int32Array(length + 2 * GUARD).fill(POISON)
    this.floats = new Float32Array(this.whole.buffer)
  }

  /** The elements; throws where a guard was touched or, with `full`, an element was not written. */
  checked(full = true): Float32Array {
    this.whole.forEach((word, at) => {
      const inside = at >= GUARD && at < GUARD + this.length
      if (!inside && word !== POISON) throw new Error(`element ${at - GUARD} of ${this.length} was written`)
      if (inside && full && word === POISON) throw new Error(`element ${at - GUARD} of ${this.length} was not written`)
    })
    return this.floats.slice(GUARD, GUARD + this.length)
  }

  integers(full = true): Int32Array {
    this.checked(full)
    return this.whole.slice(GUARD, GUARD + this.length)
  }
}

export const RESULT_FIELDS = ['logSumExp', 'entropy', 'maxWeight', 'maxIndex', 'meanDistance'] as const

export interface LaneRun {
  readonly binary: Binary
  /** default: the file's own, with what earlier tasks left in its arena */
  readonly backend?: Backend
  /** rows of each task, in order; default all in one */
  readonly split?: readonly number[]
  readonly mode?: 'chunked' | 'standard'
  /** weights of these rows; all in standard mode */
  readonly weightRows?: readonly number[]
  readonly statistics?: boolean
}

export interface LaneResult {
  readonly output: Float32Array
  readonly logSumExp: Float32Array
  readonly entropy: Float32Array
  readonly maxWeight: Float32Array
  readonly maxIndex: Int32Array
  readonly meanDistance: Float32Array
  /** [weightRows or M, N] */
  readonly weights: Float32Array
  readonly tiles: readonly AttentionTaskResult[]
}

/** One head, [M, D], [N, D] and [N, Dv], through a backend, task by task into guarded arrays. */
export async function runLane(
  { query, key, value }: AttentionInputs,
  options: MathOptions,
  run: LaneRun,
): Promise<LaneResult> {
  const [M = 0, headSize = 0] = query.shape
  const [N = 0, valueSize = 0] = value.shape
  const standard = run.mode === 'standard'
  const chosen = standard ? Array.from({ length: M }, (_, row) => row) : (run.weightRows ?? [])
  const out = {
    output: new Guarded(M * valueSize),
    weights: new Guarded(chosen.length * N),
    logSumExp: new Guarded(M),
    entropy: new Guarded(M),
    maxWeight: new Guarded(M),
    maxIndex: new Guarded(M),
    meanDistance: new Guarded(M),
  }
  const names = ['output', 'weights', ...RESULT_FIELDS] as const
  const arrays: (TaskArray | undefined)[] = [
    query.data,
    key.data,
    value.data,
    options.mask?.data,
    options.bias?.data,
    options.segments?.query.data,
    options.segments?.key.data,
    ...names.map((name) => (name === 'maxIndex' ? out[name].whole : out[name].floats)),
  ]
  const into = (name: (typeof names)[number], row: number, width: number) => ({
    array: 7 + names.indexOf(name),
    offset: GUARD + row * width,
    rowStride: width,
  })
  const context = { array: (id: number) => arrays[id] as TaskArray, pace: () => undefined }
  const tiles: AttentionTaskResult[] = []
  let rowStart = 0
  for (const rows of run.split ?? [M]) {
    const inTask = chosen
      .map((row, index) => ({ row: row - rowStart, index }))
      .filter(({ row }) => row >= 0 && row < rows)
    const fields = run.statistics === false ? [] : RESULT_FIELDS
    const task: AttentionTask = {
      ...mathOf(options, rowStart, { M, N, headSize, valueSize }, standard),
      kind: 'attention',
      rowStart,
      rows,
      keyStart: 0,
      keyEnd: N,
      query: { array: 0, offset: rowStart * headSize, rowStride: headSize },
      key: { array: 1, offset: 0, rowStride: headSize },
      value: { array: 2, offset: 0, rowStride: valueSize },
      output: into('output', rowStart, valueSize),
      ...Object.fromEntries(fields.map((field) => [field, into(field, rowStart, 1)])),
      ...(inTask.length > 0 || standard
        ? { weights: into('weights', inTask[0]?.index ?? 0, N), weightRows: Int32Array.from(inTask, ({ row }) => row) }
        : {}),
    }
    tiles.push(await (run.backend ?? backendOf(run.binary)).attention(task, context))
    rowStart += rows
  }
  const result = Object.fromEntries(
    names.map((name) => {
      const written = run.statistics !== false || name === 'output'
      return [name, name === 'maxIndex' ? out[name].integers(written) : out[name].checked(written)]
    }),
  )
  return { ...(result as unknown as Omit<LaneResult, 'tiles'>), tiles }
}

export function mathOf(
  options: MathOptions,
  rowStart: number,
  sizes: { M: number; N: number; headSize: number; valueSize: number },
  standard: boolean,
) {
  const { N, headSize, valueSize } = sizes
  const { dropout, window, mask, bias, segments } = options
  const spread = (shape: readonly number[], array: number) => {
    const [rows = 1, columns = 1] = shape.length === 1 ? [1, shape[0]] : shape
    const rowStride = rows === 1 ? 0 : columns
    return { array, offset: rowStart * rowStride, rowStride, columnStride: columns === 1 ? 0 : 1 }
  }
  return {
    settings: {
      keys: N,
      headSize,
      valueSize,
      scale: options.scale ?? 1 / Math.sqrt(headSize),
      softcap: options.softcap ?? 0,
      causal: options.causal ?? false,
      windowBefore: window?.before ?? Infinity,
      windowAfter: window?.after ?? Infinity,
      standard,
      dropout:
        dropout === undefined
          ? null
          : {
              threshold: Math.floor(dropout.probability * 4294967296),
              keepScale: 1 / (1 - dropout.probability),
              seedLow: dropout.seed % 4294967296,
              seedHigh: Math.floor(dropout.seed / 4294967296),
            },
    },
    batchHead: 0,
    keyLength: options.keyLengths?.[0] ?? N,
    queryOffset: typeof options.queryOffset === 'number' ? options.queryOffset : 0,
    alibiSlope: options.alibiSlopes?.[0] ?? 0,
    ...(mask === undefined ? {} : { mask: spread(mask.shape, 3) }),
    ...(bias === undefined ? {} : { bias: spread(bias.shape, 4) }),
    ...(segments === undefined
      ? {}
      : {
          querySegments: { array: 5, offset: rowStart, rowStride: 1 },
          keySegments: { array: 6, offset: 0, rowStride: 1 },
        }),
  }
}
