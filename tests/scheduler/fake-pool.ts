import type { LaneConfig, Task } from '../../src/protocol/messages.ts'
import type { Job, JobTask } from '../../src/scheduler/job.ts'
import { Pool } from '../../src/scheduler/pool.ts'
import { PoolEvents } from '../../src/scheduler/pool-events.ts'
import { FakeLane } from './fake-lane.ts'

const config: LaneConfig = { kind: 'wasm', numerics: 'fast', wasm: null }

/** A pool of fake lanes, and a heartbeat by hand. */
export interface FakePool {
  readonly pool: Pool
  readonly lanes: FakeLane[]
  /** Beats so often, and lets lanes answer in between; does nothing while the pool has no work. */
  readonly beat: (times?: number) => Promise<void>
  readonly isBeating: () => boolean
}

export function makePool(
  count: number,
  make: () => FakeLane = () => new FakeLane(),
  events = new PoolEvents(),
): FakePool {
  let onBeat: (() => void) | null = null
  const lanes: FakeLane[] = []
  const makeLane = (): FakeLane => {
    const lane = make()
    lanes.push(lane)
    return lane
  }
  const heartbeat = (beat: () => void) => {
    onBeat = beat
    return () => void (onBeat = null)
  }
  const beat = async (times = 1): Promise<void> => {
    for (let done = 0; done < times; done++) {
      onBeat?.()
      await settle()
    }
  }
  const pool = new Pool({ lanes: new Array<LaneConfig>(count).fill(config), makeLane, heartbeat, events })
  return { pool, lanes, beat, isBeating: () => onBeat !== null }
}

export interface TestJob extends Job {
  readonly done: JobTask[]
}

export function makeJob(costs: readonly number[], extra: Partial<Job> = {}): TestJob {
  const done: JobTask[] = []
  const tasks = costs.map((cost, index): JobTask => ({
    tasks: [{ kind: 'attention', rowStart: index } as unknown as Task],
    needs: [index],
    group: index % 2,
    cost,
  }))
  return {
    tasks,
    done,
    sharedMemory: true,
    maxLanes: 99,
    depth: 1,
    signal: undefined,
    provide: () => new Float32Array(1),
    completed: (task) => void done.push(task),
    ...extra,
  }
}

/** Lets every promise that can settle do so. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
}
