import { checkCall, planRequest } from '../../src/attention/attention-call.ts'
import { AttentionJob } from '../../src/attention/attention-job.ts'
import type { AttentionInputs, AttentionOptions } from '../../src/attention/attention-options.ts'
import { Ledger } from '../../src/core/ledger.ts'
import { planAttention } from '../../src/plan/attention-plan.ts'
import type { Transport } from '../../src/plan/transport.ts'
import { Pool } from '../../src/scheduler/pool.ts'
import type { WorkerSource } from '../../src/scheduler/spawn-worker.ts'
import { WorkerLane } from '../../src/scheduler/worker-lane.ts'

/** A pool of real workers whose heart beats when the test says so: then nobody waits for seconds to pass. */
export interface BeatingPool {
  readonly pool: Pool
  readonly attention: (
    inputs: AttentionInputs,
    options?: AttentionOptions,
  ) => Promise<{ readonly output: Float32Array; readonly retries: number }>
  /** Beats, with turns of the event loop in between, until the promise settles. */
  readonly beatUntil: <T>(promise: Promise<T>) => Promise<T>
}

export async function openBeatingPool(lanes: number, source: WorkerSource, transport: Transport): Promise<BeatingPool> {
  let onBeat: (() => void) | null = null
  const heartbeat = (beat: () => void) => {
    onBeat = beat
    return () => void (onBeat = null)
  }
  const config = { kind: 'wasm', numerics: 'portable', wasm: null } as const
  const pool = new Pool({
    lanes: new Array<typeof config>(lanes).fill(config),
    makeLane: () => new WorkerLane(source),
    heartbeat,
  })
  await pool.open()
  return {
    pool,
    attention: async (inputs, options = {}) => {
      const call = checkCall(inputs, options)
      const request = planRequest(call, inputs, {
        transport,
        lanes: pool.lanes(),
        budgetBytes: undefined,
        budgetSource: 'memory',
      })
      const job = new AttentionJob(call, inputs, { request, plan: planAttention(request), ledger: new Ledger() })
      const { retries } = await pool.run(job)
      return { output: job.results.array('output') as Float32Array, retries }
    },
    beatUntil: async (promise) => {
      let settled = false
      const over = promise.finally(() => (settled = true))
      over.catch(() => undefined)
      while (!settled) {
        onBeat?.()
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
      return over
    },
  }
}
