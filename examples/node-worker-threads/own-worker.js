// A worker of the application: `workers: 0` computes on this very thread.
import { parentPort, workerData } from 'node:worker_threads'
import { createRuntime } from 'heddle'

const runtime = await createRuntime({ workers: 0 })
try {
  const { output } = await runtime.attention(workerData, { causal: true })
  parentPort.postMessage(output)
} finally {
  await runtime.close()
}
