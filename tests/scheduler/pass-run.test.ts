import { describe, expect, it } from 'vitest'
import { CHUNK_DONE, CHUNK_FREE } from '../../src/protocol/chunk.ts'
import { freeClaims, type RowsPass, type StagePass } from '../../src/protocol/stage-pass.ts'
import type { RowStageTask } from '../../src/protocol/stage.ts'
import { PassRun, type PassHost } from '../../src/scheduler/pass-run.ts'

/** A stage of `rows` one-row chunks; its number stands in `registerBytes`. */
function stage(number: number, rows: number, lastFirst = false): RowsPass {
  const template = {
    sequence: rows,
    registers: [],
    registerBytes: number,
    residentLimitBytes: 0,
    attention: null,
    steps: [],
  }
  return { kind: 'rows', stage: template, batch: 1, rows, chunkRows: 1, lastFirst }
}

interface Done {
  readonly share: number
  readonly stage: number
  readonly row: number
}

function passOf(stages: readonly RowsPass[], shared = true): StagePass {
  const length = stages.reduce((sum, { rows }) => sum + rows, 0)
  const claims = new Int32Array(shared ? new SharedArrayBuffer(length * 4) : new ArrayBuffer(length * 4))
  return { kind: 'pass', stages, claims, share: 1 }
}

/** Runs one share; `work` decides how long a chunk takes. */
function runShare(
  pass: StagePass,
  share: number,
  done: Done[],
  work: (task: RowStageTask) => Promise<void> = turn,
  takeTurn: PassHost['takeTurn'] = turn,
): ReturnType<PassRun['run']> {
  const host: PassHost = {
    run: async (next) => {
      const task = next()
      if (task?.kind !== 'rows') return null
      await work(task)
      done.push({ share, stage: task.registerBytes, row: task.rowStart })
      return { stored: [], elapsedMs: 2 }
    },
    takeTurn,
  }
  return new PassRun({ ...pass, share }, host).run()
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

describe('PassRun', () => {
  it('divides the chunks of each stage, each done once, none before the stage in front is done', async () => {
    const pass = passOf([stage(1, 7), stage(2, 3), stage(3, 5)])
    const done: Done[] = []
    const slowFirst = async ({ rowStart }: RowStageTask): Promise<void> => {
      for (let turns = 0; turns < (rowStart === 0 ? 12 : 1); turns++) await turn()
    }
    const results = await Promise.all([1, 2, 3].map((share) => runShare(pass, share, done, slowFirst)))
    expect(done.map((chunk) => chunk.stage)).toEqual([1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3])
    expect(new Set(done.map((chunk) => `${chunk.stage}:${chunk.row}`)).size).toBe(15)
    expect(results.reduce((sum, { tasks }) => sum + tasks, 0)).toBe(15)
    expect(results.map(({ tasks, elapsedMs }) => elapsedMs / tasks)).toEqual([2, 2, 2])
    expect([...pass.claims]).toEqual(new Array(15).fill(CHUNK_DONE))
  })

  it('waits for nobody who has not begun: a lone share does everything, without shared memory too', async () => {
    for (const shared of [true, false]) {
      const done: Done[] = []
      expect((await runShare(passOf([stage(1, 3), stage(2, 2)], shared), 2, done)).tasks).toBe(5)
      expect(done).toHaveLength(5)
    }
  })

  it('begins the last chunks first where they are longer', async () => {
    const done: Done[] = []
    await runShare(passOf([stage(1, 3, true), stage(2, 2)]), 1, done)
    expect(done.map(({ row }) => row)).toEqual([2, 1, 0, 0, 1])
  })

  it('waits for a chunk that another share works on, and takes it when that lane is lost', async () => {
    const pass = passOf([stage(1, 2), stage(2, 1)])
    pass.claims[1] = 2
    const done: Done[] = []
    let turns = 0
    const run = runShare(pass, 1, done, turn, async () => {
      await turn()
      if (++turns === 3) freeClaims(pass.claims, 2)
    })
    expect((await run).tasks).toBe(3)
    expect(done.map(({ stage: number, row }) => [number, row])).toEqual([
      [1, 0],
      [1, 1],
      [2, 0],
    ])
    expect(turns).toBe(3)
  })

  it('does again what the same share had claimed on a lane that died', async () => {
    const pass = passOf([stage(1, 3)])
    pass.claims.set([1, CHUNK_DONE, CHUNK_FREE])
    const done: Done[] = []
    await runShare(pass, 1, done)
    expect(done.map(({ row }) => row)).toEqual([0, 2])
  })

  it('gives back only what the lost share held', () => {
    const claims = Int32Array.of(1, 2, CHUNK_DONE, CHUNK_FREE, 2)
    freeClaims(claims, 2)
    expect([...claims]).toEqual([1, CHUNK_FREE, CHUNK_DONE, CHUNK_FREE, CHUNK_FREE])
  })

  it('ends when it is cancelled, while it waits and while it works', async () => {
    const pass = passOf([stage(1, 2)])
    pass.claims[0] = 9
    await expect(runShare(pass, 1, [], turn, () => Promise.reject(new Error('cancelled')))).rejects.toThrow('cancelled')
    await expect(runShare(passOf([stage(1, 2)]), 1, [], () => Promise.reject(new Error('cancelled')))).rejects.toThrow(
      'cancelled',
    )
  })
})
