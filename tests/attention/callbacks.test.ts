import type { AttentionChunk, AttentionProgress, AttentionTaskEvent } from 'heddle'
import { describe, expect, test } from 'vitest'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { normalTensor } from '../support/tensors.ts'

const runtimes = { 'on the calling thread': useRuntime({ workers: 0 }), 'on two workers': useRuntime({ workers: 2 }) }
const [B, H, M, N, Dv] = [2, 3, 41, 50, 5]
const random = new Random(121)
const inputs = {
  query: normalTensor(random, [B, H, M, 8]),
  key: normalTensor(random, [B, H, N, 8]),
  value: normalTensor(random, [B, H, N, Dv]),
}

describe.each(Object.entries(runtimes))('%s', (_, runtime) => {
  test.each([1, 8, 100])('onChunk gives each row of the output exactly once, at chunk size %i', async (chunkSize) => {
    const chunks: AttentionChunk[] = []
    const { output } = await runtime().attention(inputs, {
      chunkSize,
      causal: true,
      onChunk: (chunk) => chunks.push(chunk),
    })
    const assembled = new Float32Array(output.data.length).fill(NaN)
    for (const { batch, head, rowStart, rows, output: part } of chunks) {
      expect(rows).toBeLessThanOrEqual(chunkSize)
      expect(part.length).toBe(rows * Dv)
      const start = ((batch * H + head) * M + rowStart) * Dv
      expect(assembled.subarray(start, start + part.length).every(Number.isNaN)).toBe(true)
      assembled.set(part, start)
    }
    expect(assembled).toEqual(output.data)
  })

  test('onChunk in the packed layout gives rows of one head', async () => {
    const packed = normalTensor(random, [1, 20, 12])
    const chunks: AttentionChunk[] = []
    const options = { heads: 3, chunkSize: 6, onChunk: (chunk: AttentionChunk) => chunks.push(chunk) }
    const { output } = await runtime().attention({ query: packed, key: packed, value: packed }, options)
    expect(chunks.length).toBe(3 * 4)
    for (const { head, rowStart, output: part } of chunks) {
      const rows = Array.from({ length: part.length / 4 }, (_, r) => [
        ...output.data.subarray((rowStart + r) * 12 + head * 4).subarray(0, 4),
      ])
      expect([...part]).toEqual(rows.flat())
    }
  })

  test('the chunk is the caller’s: writing into it does not change the result', async () => {
    const expected = await runtime().attention(inputs, { chunkSize: 8 })
    const { output } = await runtime().attention(inputs, { chunkSize: 8, onChunk: (chunk) => chunk.output.fill(NaN) })
    expect(output.data).toEqual(expected.output.data)
  })

  test('onProgress is called at 0 first, after the call has given its promise', async () => {
    const seen: AttentionProgress[] = []
    const call = runtime().attention(inputs, { chunkSize: 8, onProgress: (progress) => seen.push(progress) })
    expect(seen).toEqual([])
    await call
    const [first] = seen
    expect(first).toEqual({ done: 0, total: B * H * 6, elapsedMs: expect.any(Number), remainingMs: NaN })
    expect(seen.slice(1).every(({ done }) => done > 0)).toBe(true)
  })

  test('onProgress rises to the total, at most 20 times a second', async () => {
    const seen: AttentionProgress[] = []
    const started = performance.now()
    const { report } = await runtime().attention(inputs, {
      chunkSize: 1,
      onProgress: (progress) => seen.push(progress),
    })
    const elapsed = performance.now() - started
    expect(seen.length).toBeGreaterThan(0)
    expect(seen.length).toBeLessThanOrEqual(3 + elapsed / 50)
    const last = seen.at(-1)!
    expect(last).toMatchObject({ done: B * H * M, total: B * H * M, remainingMs: 0 })
    expect(report.tasks).toBe(last.total)
    seen.slice(1).forEach((progress, at) => expect(progress.done).toBeGreaterThanOrEqual(seen[at]!.done))
    for (const { elapsedMs, remainingMs } of seen.slice(1)) {
      expect(elapsedMs).toBeGreaterThanOrEqual(0)
      expect(remainingMs).toBeGreaterThanOrEqual(0)
    }
  })

  test.each([1, 16])(
    'onTask names the rows, the lane and the time of each task, at chunk size %i',
    async (chunkSize) => {
      const tasks: AttentionTaskEvent[] = []
      const startMs = performance.now()
      const { report } = await runtime().attention(inputs, { chunkSize, onTask: (task) => tasks.push(task) })
      const endMs = performance.now()
      const rows = tasks.flatMap((task) =>
        Array.from({ length: task.rows }, (_, row) => `${task.batch}:${task.head}:${task.rowStart + row}`),
      )
      expect(new Set(rows).size).toBe(B * H * M)
      expect(rows.length).toBe(B * H * M)
      for (const task of tasks) {
        expect(task.kind).toBe('wasm')
        expect(report.lanes.map(({ lane }) => lane)).toContain(task.lane)
        expect(task.startMs).toBeGreaterThanOrEqual(startMs - 1)
        expect(task.endMs).toBeGreaterThanOrEqual(task.startMs)
        // A lane's clock may differ from this one by its resolution.
        expect(task.endMs).toBeLessThanOrEqual(endMs + 1)
      }
      for (const { lane, busyMs } of report.lanes) {
        const summed = tasks
          .filter((task) => task.lane === lane)
          .reduce((sum, task) => sum + task.endMs - task.startMs, 0)
        expect(Math.abs(summed - busyMs)).toBeLessThan(1e-6)
      }
    },
  )

  test.each(['onChunk', 'onProgress', 'onTask'] as const)(
    'an error that %s throws rejects the call, and the runtime goes on',
    async (name) => {
      const failure = new Error('from the callback')
      const options = {
        chunkSize: 8,
        [name]: () => {
          throw failure
        },
      }
      await expect(runtime().attention(inputs, options)).rejects.toBe(failure)
      expect((await runtime().attention(inputs, { chunkSize: 8 })).report.tasks).toBe(B * H * 6)
    },
  )
})
