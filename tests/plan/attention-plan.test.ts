import { describe, expect, it } from 'vitest'
import { MemoryBudgetError } from '../../src/core/errors.ts'
import { planAttention } from '../../src/plan/attention-plan.ts'
import type { PlanRequest } from '../../src/plan/attention-request.ts'

const MEBI = 2 ** 20

const facts = { largestBufferBytes: 2 ** 27, workgroupsPerDimension: 65535, software: false, half: false }

/** One head over n tokens of D = 64 on two lanes over shared memory, plain inputs. */
function request(n: number, extra: Partial<PlanRequest> = {}): PlanRequest {
  const tensorBytes = n * 64 * 4
  return {
    sizes: { batch: 1, heads: 1, keyValueHeads: 1, queries: n, keys: n, headSize: 64, valueSize: 64 },
    visibility: { causal: false, windowBefore: Infinity, windowAfter: Infinity, queryOffset: [0], keyLength: [n] },
    mode: 'chunked',
    chunkSize: undefined,
    keySplits: 1,
    transport: 'shared',
    lanes: [
      { kind: 'wasm', residentBytes: 0 },
      { kind: 'wasm', residentBytes: 0 },
    ],
    inputs: [
      { shared: false, bytes: tensorBytes, headBytes: 0, rowBytes: 256 },
      { shared: false, bytes: tensorBytes, headBytes: tensorBytes, rowBytes: 0 },
      { shared: false, bytes: tensorBytes, headBytes: tensorBytes, rowBytes: 0 },
    ],
    results: [{ purpose: 'output', rowBytes: 256, rows: n, direct: false, owned: true }],
    selection: null,
    scoreInputs: { matrices: [], segments: false },
    fixedBytes: {},
    budgetBytes: undefined,
    budgetSource: 'a memory budget',
    ...extra,
  }
}

describe('planAttention', () => {
  it('lists every byte by purpose', () => {
    const plan = planAttention(request(65536))
    expect(plan.bytes['output']).toBe(16 * MEBI)
    expect(plan.bytes['input copies']).toBe(48 * MEBI)
    expect(plan.bytes['in flight']).toBe(4 * plan.chunkRows * 256)
    expect(plan.totalBytes).toBe(Object.values(plan.bytes).reduce((a, b) => a + b, 0))
    expect(plan.budgetedBytes).toBe(plan.totalBytes - 16 * MEBI)
    expect(plan.standardBytes).toBe(65536 * 65536 * 4)
  })

  it('grows with n, not with n²', () => {
    const small = planAttention(request(65536))
    const large = planAttention(request(4 * 65536))
    expect(large.totalBytes / small.totalBytes).toBeLessThan(4)
    expect(large.standardBytes / small.standardBytes).toBe(16)
  })

  it('takes chunks of at most 1024 rows, small enough for four tasks a lane', () => {
    expect(planAttention(request(65536)).chunkRows).toBe(1024)
    const plan = planAttention(request(2048))
    expect(plan.tasks).toBeGreaterThanOrEqual(8)
    expect(planAttention(request(65536, { chunkSize: 7 })).chunkRows).toBe(7)
    expect(planAttention(request(100, { chunkSize: 5000 })).chunkRows).toBe(100)
  })

  it('makes work under 0.2 ms one task', () => {
    const plan = planAttention(request(64))
    expect(plan.tasks).toBe(1)
    const heads = request(32)
    const many = planAttention({ ...heads, sizes: { ...heads.sizes, heads: 8, keyValueHeads: 8 } })
    expect(many.tasks).toBe(8)
    expect(many.tasksPerMessage).toBe(8)
  })

  it('shrinks the chunks to fit a budget, then takes fewer lanes', () => {
    const seen: string[] = []
    let budgetBytes: number | undefined
    // Each budget is a byte too small for the plan before it, until none is small enough.
    const planned = () => planAttention(request(65536, { budgetBytes }))
    expect(() => {
      for (;;) {
        const { lanes, chunkRows, budgetedBytes } = planned()
        seen.push(`${lanes}×${chunkRows}`)
        expect(budgetedBytes).toBeLessThanOrEqual(budgetBytes ?? Infinity)
        budgetBytes = budgetedBytes - 1
      }
    }).toThrow(MemoryBudgetError)
    expect(seen).toEqual(['2×1024', '2×512', '2×256', '2×128', '2×64', '2×32', '2×16', '2×8', '1×8'])
  })

  it('says which budget would do when nothing fits, and that one does', () => {
    let error: unknown
    try {
      planAttention(request(65536, { budgetBytes: 1000 }))
    } catch (caught) {
      error = caught
    }
    expect(error).toBeInstanceOf(MemoryBudgetError)
    const smallest = (error as MemoryBudgetError).smallestBudgetBytes ?? 0
    expect((error as Error).message).toContain(`at least ${smallest} bytes`)
    const plan = planAttention(request(65536, { budgetBytes: smallest }))
    expect(plan.budgetedBytes).toBe(smallest)
    // 16 rows in flight: two messages at the one lane that is left.
    expect(plan).toMatchObject({
      chunkRows: 8,
      lanes: 1,
      bytes: { 'in flight': 16 * 256, 'lane arenas': 4 * MEBI, 'input copies': 48 * MEBI },
    })
    expect(() => planAttention(request(65536, { budgetBytes: smallest - 1 }))).toThrow(MemoryBudgetError)
  })

  it('counts copies for each lane by transfer', () => {
    const plan = planAttention(request(65536, { transport: 'transfer' }))
    expect(plan.bytes['head copies']).toBe(2 * 32 * MEBI)
    expect(plan.bytes['input copies']).toBeUndefined()
    expect(plan.depth).toBe(1)
  })

  it('counts no copy of what is shared already', () => {
    const plain = request(4096)
    const plan = planAttention({
      ...plain,
      inputs: plain.inputs.map((input) => ({ ...input, shared: true })),
      results: [{ purpose: 'output', rowBytes: 256, rows: 4096, direct: true, owned: true }],
    })
    expect(plan.bytes['input copies']).toBeUndefined()
    expect(plan.bytes['in flight']).toBeUndefined()
  })

  it('counts the pairs that causal order hides out of the work', () => {
    const full = planAttention(request(4096)).flops
    const base = request(4096)
    const causal = planAttention({ ...base, visibility: { ...base.visibility, causal: true } }).flops
    expect(causal / full).toBeCloseTo((4096 + 1) / (2 * 4096), 4)
  })

  it('counts what a GPU lane holds on its device: keys and values, and two tasks’ scratch', () => {
    const plan = planAttention(request(4096, { lanes: [{ kind: 'webgpu', residentBytes: 0, facts }] }))
    expect([plan.chunkRows, plan.depth]).toEqual([1024, 3])
    // 1024 rows are 32 workgroups: 16 splits of 256 keys or more and a slot to merge into, 256 bytes of partial and 32
    // of state a row.
    const scratch = 17 * 1024 * (256 + 32) + 1024 * (256 + 20 + 276)
    expect(plan.bytes['lane arenas']).toBe(2 * 4096 * 256 + 2 * (scratch + 1024 * 256) + 144)
  })

  it('gives GPU lanes larger chunks, and software ones as many as wasm', () => {
    const gpu = (n: number, software = false) =>
      planAttention(request(n, { lanes: [{ kind: 'webgpu', residentBytes: 0, facts: { ...facts, software } }] }))
    expect(gpu(65536).chunkRows).toBe(4096)
    expect(gpu(1024).tasks).toBe(1)
    expect(gpu(1024, true).tasks).toBe(4)
  })

  it('makes a GPU lane lean before it takes fewer rows', () => {
    const gpu = request(4096, { lanes: [{ kind: 'webgpu', residentBytes: 0, facts }] })
    const free = planAttention(gpu)
    const tight = planAttention({ ...gpu, budgetBytes: free.budgetedBytes - 1 })
    expect(free.device?.lean).toBe(false)
    expect(tight).toMatchObject({ chunkRows: free.chunkRows, depth: 1, device: { lean: true } })
  })

  it('explains itself in a few lines', () => {
    const text = planAttention(request(65536)).explain()
    expect(text).toContain('chunked attention')
    expect(text).toContain('query [1, 1, 65536, 64]')
    expect(text).toMatch(/input copies +48\.0 MiB/)
    expect(text).toContain('would take 16.0 GiB')
  })
})
