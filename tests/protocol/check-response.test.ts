import { describe, expect, it } from 'vitest'
import { ProtocolError } from '../../src/core/errors.ts'
import { checkResponse } from '../../src/protocol/check-response.ts'
import { CHUNK_DONE, CHUNK_FREE } from '../../src/protocol/chunk.ts'
import type { AttentionHeadsTask } from '../../src/protocol/heads-task.ts'
import type { StagePass } from '../../src/protocol/stage-pass.ts'
import type { AttentionTask } from '../../src/protocol/task.ts'

const answer = (result: object) => ({
  results: [result],
  residentBytes: 0,
  keptBytes: 0,
  besideBytes: 0,
  stageBytes: 0,
  besideStageBytes: 0,
  fallbacks: [],
})

describe('checkResponse', () => {
  it('takes a share of a pass as done only when every chunk is', () => {
    const pass = (claims: readonly number[]): StagePass => ({
      kind: 'pass',
      stages: [],
      claims: Int32Array.from(claims),
      share: 1,
    })
    const said = answer({ tasks: 1, elapsedMs: 0, partMs: [] })
    expect(() => checkResponse([pass([CHUNK_DONE, CHUNK_DONE])], said)).not.toThrow()
    expect(() => checkResponse([pass([CHUNK_DONE, CHUNK_FREE])], said)).toThrow(ProtocolError)
    expect(() => checkResponse([pass([2, CHUNK_DONE])], said)).toThrow(ProtocolError)
    for (const partMs of [undefined, [0]])
      expect(
        () => checkResponse([pass([CHUNK_DONE])], answer({ tasks: 1, elapsedMs: 0, partMs })),
        String(partMs),
      ).toThrow(ProtocolError)
  })

  it('asks for the weights of the chosen rows, or of all rows where none were chosen', () => {
    const task = (weightRows?: Int32Array) =>
      ({
        kind: 'attention',
        rows: 3,
        settings: { keys: 5, valueSize: 2 },
        weights: true,
        ...(weightRows === undefined ? {} : { weightRows }),
      }) as unknown as AttentionTask
    const said = (elements: number) =>
      answer({ elapsedMs: 0, tiles: 0, skippedTiles: 0, weights: new Float32Array(elements) })
    expect(() => checkResponse([task()], said(15))).not.toThrow()
    expect(() => checkResponse([task()], said(5))).toThrow(/expected 15 elements, got 5/)
    expect(() => checkResponse([task(Int32Array.of(2))], said(5))).not.toThrow()
    expect(() => checkResponse([task(Int32Array.of(2))], said(15))).toThrow(ProtocolError)
  })

  it('asks for every result of many heads that does not stand in place', () => {
    const task = {
      kind: 'attention-heads',
      rows: 3,
      count: 4,
      results: [
        { name: 'output', columns: 2, to: 'returned' },
        { name: 'logSumExp', columns: 1, to: { array: 1 } },
        { name: 'maxIndex', columns: 1, to: 'returned' },
      ],
    } as unknown as AttentionHeadsTask
    const said = (...returned: unknown[]) => answer({ elapsedMs: 0, tiles: 0, skippedTiles: 0, returned })
    expect(() => checkResponse([task], said(new Float32Array(24), new Int32Array(12)))).not.toThrow()
    expect(() => checkResponse([task], said(new Float32Array(23), new Int32Array(12)))).toThrow(/24 elements, got 23/)
    expect(() => checkResponse([task], said(new Float32Array(24), new Float32Array(12)))).toThrow(ProtocolError)
    expect(() => checkResponse([task], said(new Float32Array(24)))).toThrow(/a list of 2, got 1/)
  })

  it('reads arrays of another realm', () => {
    const task = {
      kind: 'attention',
      rows: 1,
      settings: { keys: 1, valueSize: 2 },
      output: true,
    } as unknown as AttentionTask
    const foreign = Object.setPrototypeOf(
      new Float32Array(2),
      Object.create(Object.getPrototypeOf(Float32Array.prototype) as object) as object,
    ) as Float32Array
    expect(foreign).not.toBeInstanceOf(Float32Array)
    expect(() =>
      checkResponse([task], answer({ elapsedMs: 0, tiles: 0, skippedTiles: 0, output: foreign })),
    ).not.toThrow()
  })
})
