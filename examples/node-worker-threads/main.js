// Causal attention over 8,192 tokens and 4 heads on every core: planned, with progress, stoppable, and the same bits
// for any pool.
import { Worker } from 'node:worker_threads'
import { createRuntime } from 'heddle'

const shape = [1, 4, 8192, 64]

function fill({ data }, seed) {
  for (let i = 0; i < data.length; i++) data[i] = Math.sin(seed + i * 0.7) + Math.cos(seed * 3 + i * 0.13)
}

async function onEveryCore() {
  const runtime = await createRuntime({ memoryBudgetBytes: 64 * 2 ** 20 })
  try {
    // Shared memory where there is some: then nothing is copied between threads.
    const [query, key, value] = [1, 2, 3].map((seed) => {
      const made = runtime.tensor(shape)
      fill(made, seed)
      return made
    })
    console.log(runtime.plan({ query, key, value }, { causal: true }).explain())

    const { output, report } = await runtime.attention(
      { query, key, value },
      {
        causal: true,
        onProgress: ({ done, total, remainingMs }) =>
          process.stderr.write(`\r${done}/${total} tasks, ${Math.round(remainingMs)} ms left   `),
      },
    )
    process.stderr.write('\n')
    const lanes = report.lanes.map(({ kernels, tasks }) => `${tasks} tasks on ${kernels}`).join(', ')
    console.log(
      `${report.elapsedMs.toFixed(0)} ms, ${lanes}, peak ${(report.memory.peakBytes / 2 ** 20).toFixed(1)} MiB`,
    )

    await stopEarly(runtime, { query, key, value })
    return { query, key, value, output }
  } finally {
    await runtime.close()
  }
}

/** A call can be stopped at any time; it rejects with the signal's reason. */
async function stopEarly(runtime, inputs) {
  const controller = new AbortController()
  const call = runtime.attention(inputs, { signal: controller.signal })
  setTimeout(() => controller.abort(new Error('no longer needed')), 20)
  const reason = await call.then(
    () => 'it was faster than the abort',
    (error) => error.message,
  )
  console.log(`stopped: ${reason}`)
}

/** The same attention inside a worker of your own: its share of memory arrives without a copy. */
function inOwnWorker({ query, key, value }) {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./own-worker.js', import.meta.url), { workerData: { query, key, value } })
    worker.once('message', resolve)
    worker.once('error', reject)
  })
}

const { output, ...inputs } = await onEveryCore()
const own = await inOwnWorker(inputs)
const equal = output.data.every((element, index) => element === own.data[index])
console.log(equal ? 'same bits on one thread and on all' : 'DIFFERENT results')
process.exitCode = equal ? 0 : 1
