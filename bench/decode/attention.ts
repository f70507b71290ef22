import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { createRuntime, type Runtime, type Tensor } from 'heddle'
import { normalValues } from '../../src/cli/bench/normal-values.ts'
import { referenceRow } from '../../src/cli/bench/reference-rows.ts'
import { interleave, median } from '../kernels/rounds.ts'
import { onnxDecode, type DecodeContender, type DecodeProblem } from './onnx-decode.ts'

const [HEADS, KEY_VALUE_HEADS] = [32, 8]
/** The answer is off from float64 by no more than this. */
const ALLOWED_ERROR = 1e-5

/**
 * One token of decoding with grouped heads, on one thread and beside onnxruntime-web where PEER names its dist folder.
 */
export async function decodeAttention(headSize: number, keys: number, rounds: number): Promise<string[]> {
  const runtime = await createRuntime({ workers: 0 })
  try {
    const problem = problemOf(runtime, headSize, keys)
    const { query, key, value } = problem
    const attend = async (): Promise<Float32Array> => (await runtime.attention({ query, key, value })).output.data
    const contenders: DecodeContender[] = [{ name: 'heddle', run: attend }, ...(await peers(problem))]
    for (const contender of contenders) checkAnswer(contender.name, await contender.run(), problem)
    const times = await interleave(contenders, rounds)
    const own = median(times.get('heddle') ?? [])
    const head = `H ${HEADS}, Hkv ${KEY_VALUE_HEADS}, D ${headSize}, ${keys} cached`
    return [...times].map(
      ([name, list]) =>
        `${head}: ${name.padEnd(52)} ${median(list).toFixed(2).padStart(7)} ms  ${(median(list) / own).toFixed(2)}`,
    )
  } finally {
    await runtime.close()
  }
}

function problemOf(runtime: Runtime, headSize: number, keys: number): DecodeProblem {
  const normal = (shape: number[], seed: number): Tensor => {
    const tensor = runtime.tensor(shape)
    tensor.data.set(normalValues(tensor.data.length, seed))
    return tensor
  }
  const shape = [1, KEY_VALUE_HEADS, keys, headSize]
  return {
    heads: HEADS,
    keyValueHeads: KEY_VALUE_HEADS,
    keys,
    headSize,
    query: normal([1, HEADS, 1, headSize], 1),
    key: normal(shape, 2),
    value: normal(shape, 3),
  }
}

async function peers(problem: DecodeProblem): Promise<DecodeContender[]> {
  const folder = process.env['PEER']
  if (folder === undefined) return []
  return onnxDecode(
    (await import(pathToFileURL(path.join(folder, 'ort.wasm.min.mjs')).href)) as Parameters<typeof onnxDecode>[0],
    problem,
  )
}

/** @throws {Error} where a head's output is not what float64 says */
function checkAnswer(name: string, output: Float32Array, { headSize, keys, query, key, value }: DecodeProblem): void {
  const part = ({ data }: Tensor, size: number, index: number): Float32Array =>
    data.subarray(index * size, (index + 1) * size)
  for (const head of [0, 5, HEADS - 1]) {
    const group = Math.floor((head * KEY_VALUE_HEADS) / HEADS)
    const one = {
      query: part(query, headSize, head),
      key: part(key, keys * headSize, group),
      value: part(value, keys * headSize, group),
      headSize,
      valueSize: headSize,
    }
    referenceRow(one, 0, keys).forEach((expected, at) => {
      const off = Math.abs(expected - (output[head * headSize + at] ?? NaN))
      if (!(off <= ALLOWED_ERROR)) throw new Error(`${name}: wrong answer, off by ${off} in head ${head}`)
    })
  }
}
