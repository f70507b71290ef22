// Attention backward: against forward on the kernels alone, two lanes against one, beside peers, and over a long
// sequence. Every answer is checked before it is timed; what is compared takes turns. Prints tables; writes
// build/bench-backward.json.
//
// npm run bench:backward -- [--parts kernels,lanes,peers,long] [--rounds 9] [--turns 3] [--sizes 512,2048,4096]
// [--tokens 65536] [--quick]
//
// kernels  one head on one thread: ratio to forward, FLOPs and share of the engine's own multiply-add peak, in one
//          process
// lanes    through the API, n 2,048, H 8, D 64: forward and backward, and one worker against two
// peers    forward and backward together, H 8, D 64, one thread each: native PyTorch (/usr/bin/python3), jax-js
//          (Node 22 or later), tfjs-wasm
// long     one causal head of 64 over --tokens, with its peak memory beside the plan
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { inProcess } from './bench/in-process.mjs'
import { installPeers, peersFolder } from './bench/peer-packages.mjs'
import { bundleForNode, bundleTfjsGradients } from './bench/bundle.mjs'
import { hasPython, runPython } from './bench/run-python.mjs'
import { thisMachine } from './bench/this-machine.mjs'

process.chdir(path.resolve(fileURLToPath(import.meta.url), '../..'))
const { values } = parseArgs({
  options: {
    parts: { type: 'string', default: 'kernels,lanes,peers,long' },
    rounds: { type: 'string', default: '9' },
    turns: { type: 'string', default: '3' },
    sizes: { type: 'string', default: '512,2048,4096' },
    tokens: { type: 'string', default: '65536' },
    quick: { type: 'boolean', default: false },
  },
})
const parts = values.parts.split(',')
const rounds = values.quick ? 3 : Number(values.rounds)
const turns = values.quick ? 1 : Number(values.turns)
const [HEADS, HEAD_SIZE, TIMEOUT_MS] = [8, 64, 120_000]
const folder = path.resolve('build/bench-backward')
await bundleForNode(folder, {
  node: 'bench/backward/node.ts',
  data: 'bench/backward/data.ts',
  spread: 'src/cli/bench/spread.ts',
})
await bundleTfjsGradients(folder)
const { spreadOf } = await import(pathToFileURL(`${folder}/spread.mjs`).href)
const { backwardData, worstOf } = await import(pathToFileURL(`${folder}/data.mjs`).href)

const NODE = { script: `${folder}/node.mjs`, timeoutMs: TIMEOUT_MS }
const results = {}
if (parts.includes('kernels')) results.kernels = await measureKernels()
if (parts.includes('lanes')) results.lanes = await measureLanes()
if (parts.includes('peers'))
  results.peers = await measurePeers(values.quick ? [256] : values.sizes.split(',').map(Number))
if (parts.includes('long')) results.long = await measureLong(values.quick ? 4096 : Number(values.tokens))
const machine = thisMachine()
await writeFile('build/bench-backward.json', JSON.stringify({ machine, results }, null, 2))
console.log('written to build/bench-backward.json')
process.exit(0)

async function measureKernels() {
  const shapes = [[2048, 64, false], [2048, 64, true], [2048, 128, false], ...(values.quick ? [] : [[8192, 64, false]])]
  const rows = []
  console.log(`Node ${process.versions.node}, one head on one thread`)
  for (const [tokens, headSize, causal] of shapes) {
    for (const variant of ['simd', 'relaxed']) {
      const row = {
        tokens,
        headSize,
        causal,
        variant,
        ...(await inProcess(NODE, ['kernels', variant, tokens, headSize, causal, rounds])),
      }
      rows.push(row)
      const shape = `  n ${tokens} D ${headSize}${causal ? ' causal' : ''}`.padEnd(24)
      if (row.failure !== undefined) console.log(`${shape} ${variant.padEnd(8)} ${row.failure}`)
      else
        console.log(
          `${shape} ${variant.padEnd(8)} forward ${side(row.forward, row.forwardGflops, row.peakGflops)}  backward ${side(row.backward, row.backwardGflops, row.peakGflops)}  ${row.ratio.toFixed(2)} × forward`,
        )
    }
  }
  return rows
}

function side({ medianMs }, gflops, peak) {
  return `${medianMs.toFixed(1)} ms, ${gflops.toFixed(1)} GFLOP/s (${((100 * gflops) / peak).toFixed(0)} % of peak)`
}

/** Rounds in turns: one worker, two workers, one worker, … */
async function measureLanes() {
  const { createRuntime } = await import('heddle')
  const counts = availableParallelism() > 1 ? [1, 2] : [1]
  const runtimes = await Promise.all(counts.map((workers) => createRuntime({ workers, backend: 'wasm' })))
  const calls = await Promise.all(
    runtimes.map((runtime) => sharedCall(runtime, { tokens: 2048, heads: HEADS, headSize: HEAD_SIZE }, {})),
  )
  const times = counts.map(() => ({ forward: [], backward: [] }))
  for (let round = -2; round < rounds; round++) {
    for (const [index, runtime] of runtimes.entries()) {
      const forward = (await runtime.attention(calls[index].inputs, { returnLogSumExp: true })).report.elapsedMs
      const backward = (await runtime.attentionBackward(calls[index].call)).report.elapsedMs
      if (round >= 0) [times[index].forward.push(forward), times[index].backward.push(backward)]
    }
  }
  await Promise.all(runtimes.map((runtime) => runtime.close()))
  const speedup = (name) =>
    counts.length < 2 ? undefined : spreadOf(times[0][name].map((ms, round) => ms / times[1][name][round])).medianMs
  const rows = counts.map((workers, index) => ({
    workers,
    forward: spreadOf(times[index].forward),
    backward: spreadOf(times[index].backward),
    ratio: spreadOf(times[index].backward.map((ms, round) => ms / times[index].forward[round])).medianMs,
  }))
  console.log(`through the API, n 2048, H ${HEADS}, D ${HEAD_SIZE}`)
  for (const { workers, forward, backward, ratio } of rows)
    console.log(
      `  ${workers} worker${workers === 1 ? ' ' : 's'}  forward ${forward.medianMs.toFixed(1)} ms  backward ${backward.medianMs.toFixed(1)} ms  ${ratio.toFixed(2)} × forward`,
    )
  if (counts.length > 1)
    console.log(
      `  two against one: forward ${speedup('forward').toFixed(2)} ×, backward ${speedup('backward').toFixed(2)} ×`,
    )
  return { rows, forwardSpeedup: speedup('forward'), backwardSpeedup: speedup('backward') }
}

/** A forward call in shared memory, and what its backward call needs. */
async function sharedCall(runtime, { tokens, heads, headSize }, forwardOptions) {
  const data = backwardData({ tokens, heads, headSize })
  const tensorOf = (values, shape = [1, heads, tokens, headSize]) => {
    const tensor = runtime.tensor(shape)
    tensor.data.set(values)
    return tensor
  }
  const inputs = { query: tensorOf(data.query), key: tensorOf(data.key), value: tensorOf(data.value) }
  const { output, logSumExp } = await runtime.attention(inputs, { ...forwardOptions, returnLogSumExp: true })
  return { inputs, call: { ...inputs, output, logSumExp, dOutput: tensorOf(data.dOutput) } }
}

async function measurePeers(sizes) {
  const names = ['heddle, 1 worker']
  if (!values.quick) {
    await installPeers(['@jax-js/jax'])
    names.push('jax-js', 'tfjs-wasm')
  }
  if (hasPython) names.push('PyTorch, native')
  const rows = []
  console.log(`forward and backward, H ${HEADS}, D ${HEAD_SIZE}, one thread`)
  for (const tokens of sizes) {
    const atSize = names.map((name) => ({ name, tokens, times: [], failure: undefined }))
    for (let turn = 0; turn < turns; turn++) {
      for (const row of turn % 2 === 0 ? atSize : [...atSize].reverse()) {
        if (row.failure !== undefined) continue
        const outcome =
          row.name === 'PyTorch, native'
            ? await inPython(tokens)
            : await inProcess(NODE, ['peer', row.name, tokens, HEADS, HEAD_SIZE, peersFolder])
        if (outcome.failure === undefined) row.times.push(...outcome.times)
        else row.failure = outcome.failure
      }
    }
    const [ours] = atSize
    for (const row of atSize) console.log(peerLine(row, ours))
    rows.push(...atSize)
  }
  return rows
}

function peerLine({ name, tokens, times, failure }, ours) {
  const start = `  n ${String(tokens).padEnd(5)} ${name.padEnd(18)}`
  if (failure !== undefined) return `${start} ${failure.slice(0, 90)}`
  const { medianMs, lowMs, highMs } = spreadOf(times)
  const ratio =
    ours.times.length === 0 || name === ours.name
      ? ''
      : `  heddle is ${(medianMs / spreadOf(ours.times).medianMs).toFixed(2)} × as fast`
  return `${start} ${medianMs.toFixed(1).padStart(9)} ms (${lowMs.toFixed(1)} – ${highMs.toFixed(1)})${ratio}`
}

async function inPython(tokens) {
  const shape = { tokens, heads: HEADS, headSize: HEAD_SIZE }
  const data = backwardData(shape)
  await writeFile(
    `${folder}/data.bin`,
    Buffer.concat([data.query, data.key, data.value, data.dOutput].map((array) => Buffer.from(array.buffer))),
  )
  try {
    const printed = await runPython(['bench/backward/pytorch.py', tokens, HEADS, HEAD_SIZE, folder], TIMEOUT_MS)
    const all = new Float32Array(readFileSync(`${folder}/gradients.bin`).buffer.slice(0))
    const size = all.length / 3
    const worst = worstOf(shape, data, {
      dQuery: all.subarray(0, size),
      dKey: all.subarray(size, 2 * size),
      dValue: all.subarray(2 * size),
    })
    return worst <= 1e-4 ? printed : { failure: `wrong gradients: off by ${worst}` }
  } catch (error) {
    return { failure: error.message.split('\n').find((line) => /error/i.test(line)) ?? error.message.split('\n')[0] }
  }
}

async function measureLong(tokens) {
  const { createRuntime } = await import('heddle')
  const runtime = await createRuntime({ backend: 'wasm' })
  const { call } = await sharedCall(runtime, { tokens, heads: 1, headSize: HEAD_SIZE }, { causal: true })
  const before = process.memoryUsage.rss()
  const { report, dQuery } = await runtime.attentionBackward(call, { causal: true })
  const grown = process.memoryUsage.rss() - before
  const finite = dQuery.data.every(Number.isFinite)
  await runtime.close()
  const mebibytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`
  const { plannedBytes, peakBytes } = report.memory
  console.log(`one causal head of ${HEAD_SIZE} over ${tokens} tokens, ${report.plan.lanes} lanes`)
  console.log(
    `  ${(report.elapsedMs / 1000).toFixed(1)} s, ${(report.plan.flops / report.elapsedMs / 1e6).toFixed(1)} GFLOP/s; peak ${mebibytes(peakBytes)} of ${mebibytes(plannedBytes)} planned, resident ${mebibytes(grown)} more; all finite: ${finite}; one score matrix would be ${mebibytes(report.plan.standardBytes)}`,
  )
  return {
    tokens,
    elapsedMs: report.elapsedMs,
    flops: report.plan.flops,
    plannedBytes,
    peakBytes,
    residentGrowthBytes: grown,
    lanes: report.plan.lanes,
  }
}
