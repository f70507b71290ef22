import { writeFile } from 'node:fs/promises'
import { heddleEncoder, onnxEncoder, type EncoderContender } from './contenders.ts'
import { writeEncoder, type EncoderSizes } from './encoder-files.ts'

// One contender in a process of its own, so that memory and failures are its own. BENCH is JSON: an `EncoderBench`, or
// sizes to write the files of: node node.mjs BENCH FOLDER PEERS
const [bench = '{}', folder = '', peers = ''] = process.argv.slice(2)

/** Who runs the encoder, and how often. */
interface EncoderBench {
  readonly contender: 'heddle' | 'onnxruntime-web'
  readonly workers: number
  readonly tokens: number
  readonly vocabulary: number
  /** runs before those that are timed */
  readonly warm: number
  readonly rounds: number
  /** where the last hidden rows go, as float32 */
  readonly outputFile: string
}

function makeContender({ contender, workers }: EncoderBench): Promise<EncoderContender> {
  return contender === 'heddle' ? heddleEncoder(folder, workers) : onnxEncoder(folder, peers)
}

async function measure(asked: EncoderBench): Promise<object> {
  const { run, close } = await makeContender(asked)
  const ids = Int32Array.from({ length: asked.tokens }, (_, index) => (index * 7919) % asked.vocabulary)
  const times: number[] = []
  let output = new Float32Array(0)
  for (let round = 0; round < asked.warm + asked.rounds; round++) {
    const startMs = performance.now()
    output = Float32Array.from(await run(ids))
    if (round >= asked.warm) times.push(performance.now() - startMs)
  }
  // Before anything else is allocated: what writing the answer takes is not the contender's.
  const peakBytes = process.resourceUsage().maxRSS * 1024
  await writeFile(asked.outputFile, output)
  await close()
  return { times, peakBytes }
}

async function perform(): Promise<object> {
  const asked = JSON.parse(bench) as EncoderBench | { readonly write: EncoderSizes }
  if (!('write' in asked)) return measure(asked)
  await writeEncoder(folder, asked.write)
  return { written: true }
}

const outcome = await perform().catch((error: unknown) => ({
  failure: error instanceof Error ? error.message : String(error),
}))
// The message must be out before the process ends: `exit` alone may cut it off.
process.send?.(outcome, () => process.exit(0))
