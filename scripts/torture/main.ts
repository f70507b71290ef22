import { parseArgs } from 'node:util'
import { createRuntime } from 'heddle'
import { Random } from '../../tests/support/random.ts'
import { findPages, lostInChromium } from './chromium.ts'
import { gpuFaults } from './gpu-faults.ts'
import { inputs } from './inputs.ts'
import { lostWorkers, refusingHosts } from './lost-workers.ts'
import type { Promised } from './promise.ts'
import { settling } from './settling.ts'

/** A case that has not settled by then counts as a promise that hangs. */
const HANGS_AFTER_MS = 60_000
/** Runs of at least this time try each promise as often as it asks for, whatever that takes. */
const FULL_RUN_MS = 5 * 60_000
/** Failures of one promise that are printed. */
const MOST_PRINTED = 3

interface Tally {
  readonly promise: string
  cases: number
  failures: number
  worstSettlingMs: number | null
  readonly messages: string[]
}

const { values } = parseArgs({
  options: {
    budget: { type: 'string', default: '10m' },
    seed: { type: 'string' },
    only: { type: 'string' },
    cases: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
})
const budgetMs = durationMs(values.budget)
const seed = values.seed === undefined ? Date.now() % 2 ** 31 : Number(values.seed)
if (!Number.isSafeInteger(seed) || seed < 0)
  throw new Error(`torture: expected --seed as an integer ≥ 0, got ${values.seed}`)

const leastCases = values.cases === undefined ? null : Number(values.cases)
if (leastCases !== null && !(Number.isSafeInteger(leastCases) && leastCases > 0))
  throw new Error(`torture: expected --cases as an integer > 0, got ${values.cases}`)

process.on('unhandledRejection', (reason) => {
  console.error('torture: expected no unhandled rejection, got', reason)
  process.exitCode = 1
})

const calm = await createRuntime({ workers: 0 })
const shared = await createRuntime({ workers: 2 })
const pages = findPages()
const all = [
  ...lostWorkers(calm),
  ...refusingHosts(calm),
  ...lostInChromium(pages),
  ...(await gpuFaults(calm)),
  ...settling(calm, shared),
  ...inputs(calm, shared),
]
const tallies = await run()
await Promise.all([calm.close(), shared.close(), pages?.close()])
print(tallies)
if (tallies.some(({ failures }) => failures > 0)) process.exitCode = 1

/** Each promise gets an equal part of the time that is left, and at least one case. */
async function run(): Promise<Tally[]> {
  const { only } = values
  // Those that take long have no place in a short run, unless they are asked for.
  const chosen = all.filter(({ promise, seconds = 1 }) =>
    only === undefined ? seconds * 1000 <= Math.max(2000, budgetMs / 20) : promise.includes(only),
  )
  if (chosen.length === 0)
    throw new Error(`torture: expected --only to be part of a promise, got ${JSON.stringify(values.only)}`)
  const endMs = performance.now() + budgetMs
  const done: Tally[] = []
  for (const [index, promised] of chosen.entries()) {
    const partMs = Math.max(0, endMs - performance.now()) / (chosen.length - index)
    done.push(await tryFor(promised, partMs))
  }
  return done
}

/** Whether the promise gets one more case. Without `--cases`, full runs alone take the time that it asks for. */
function goesOn({ most = Infinity, least = 1 }: Promised, { cases, failures }: Tally, isInTime: boolean): boolean {
  if (failures >= MOST_PRINTED && !isInTime) return false
  if (leastCases !== null) return cases < leastCases
  return cases < most && (isInTime || (cases < least && budgetMs >= FULL_RUN_MS))
}

async function tryFor(promised: Promised, partMs: number): Promise<Tally> {
  const tally: Tally = { promise: promised.promise, cases: 0, failures: 0, worstSettlingMs: null, messages: [] }
  const endMs = performance.now() + partMs
  do {
    const caseSeed = (seed + tally.cases * 7919) >>> 0
    try {
      const settledMs = await untilItHangs(promised.attempt(new Random(caseSeed)))
      if (settledMs !== null) tally.worstSettlingMs = Math.max(tally.worstSettlingMs ?? 0, settledMs)
    } catch (error) {
      tally.failures++
      if (tally.messages.length < MOST_PRINTED)
        tally.messages.push(
          `case ${tally.cases} (--seed ${caseSeed}): ${error instanceof Error ? error.message : String(error)}`,
        )
    }
    tally.cases++
  } while (goesOn(promised, tally, performance.now() < endMs))
  return tally
}

async function untilItHangs<T>(attempt: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`expected everything to settle within ${HANGS_AFTER_MS} ms`)),
      HANGS_AFTER_MS,
    )
  })
  try {
    return await Promise.race([attempt, late])
  } finally {
    clearTimeout(timer)
  }
}

function print(done: readonly Tally[]): void {
  if (values.json)
    return console.log(JSON.stringify({ seed, budgetMs, node: process.version, promises: done }, null, 2))
  const widest = Math.max(...done.map(({ promise }) => promise.length))
  const line = (promise: string, ...cells: string[]): void =>
    console.log(`${promise.padEnd(widest)}  ${cells.map((cell) => cell.padStart(10)).join('')}`)
  line('promise', 'cases', 'failures', 'settled ms')
  for (const { promise, cases, failures, worstSettlingMs, messages } of done) {
    line(promise, String(cases), String(failures), worstSettlingMs === null ? '–' : worstSettlingMs.toFixed(0))
    for (const message of messages) console.log(`    ${message}`)
  }
  line(
    'all',
    String(done.reduce((sum, { cases }) => sum + cases, 0)),
    String(done.reduce((sum, { failures }) => sum + failures, 0)),
    '',
  )
  console.log(
    `seed ${seed}, node ${process.version}; "settled ms" is the longest time from a fault until every call had settled`,
  )
}

/** `20s`, `10m`. */
function durationMs(text: string): number {
  const [, count, unit] = /^(\d+(?:\.\d+)?)(s|m|h)$/.exec(text) ?? []
  if (count === undefined) throw new Error(`torture: expected --budget such as 20s or 10m, got ${text}`)
  return Number(count) * { s: 1000, m: 60_000, h: 3_600_000 }[unit as 's' | 'm' | 'h']
}
