import { Worker } from 'node:worker_threads'
import fc from 'fast-check'
import { HeddleError, type AttentionInputs, type Runtime, type Tensor } from 'heddle'
import { readSafetensors, writeSafetensors } from 'heddle/nn'
import { OPTION_NAMES } from '../../src/attention/resolve-options.ts'
import { measureCloseness, type Tolerance } from '../../tests/support/error-rule.ts'
import { checkedGradients } from '../../tests/support/gradient-checks.ts'
import { attentionReference, type Reference } from '../../tests/support/oracle.ts'
import type { Random } from '../../tests/support/random.ts'
import { describeCall, randomCall, type RandomCall } from '../../tests/support/random-calls.ts'
import { normalTensor } from '../../tests/support/tensors.ts'
import { Crew, throughRelay, workerFile } from './crew.ts'
import { ensure, ensureOutcome, outcomeOf, type Promised } from './promise.ts'
import { bitsOf, WORKLOADS } from './workloads.ts'

/** @throws unless it is within the error rule of the reference */
function ensureWithinRule(
  what: string,
  actual: ArrayLike<number>,
  { exact, plain }: Reference,
  tolerance?: Tolerance,
): void {
  const { ok, error, bound } = measureCloseness(actual, exact, plain, tolerance)
  ensure(ok, `expected an error of at most ${bound}, got ${error}: ${what}`)
}

function drawCall(random: Random): RandomCall {
  const [call] = fc.sample(randomCall(), { seed: random.word() | 0, numRuns: 1 })
  if (call === undefined) throw new Error('expected fast-check to draw a call')
  return call
}

/** Any shapes and options. */
export function validCalls(shared: Runtime): Promised[] {
  return [
    {
      promise: 'valid calls equal a float64 reference',
      most: 10_000,
      attempt: async (random) => {
        const call = drawCall(random)
        const { inputs, options, chunkSize } = call
        const { output } = await shared.attention(inputs, { ...options, chunkSize })
        ensureWithinRule(describeCall(call), output.data, attentionReference(inputs, options).output)
        return null
      },
    },
    {
      promise: 'gradients equal a float64 reference for any valid call',
      most: 10_000,
      attempt: async (random) => {
        const call = drawCall(random)
        const { checks } = await checkedGradients(shared, call.inputs, { ...call.options, chunkSize: call.chunkSize })
        for (const { name, actual, reference, tolerance } of checks) {
          const what = `${name} of ${describeCall(call)}`
          if (actual === undefined || reference === undefined)
            ensure(actual === reference, `expected one only where there is something to differentiate: ${what}`)
          else ensureWithinRule(what, 'data' in actual ? actual.data : actual, reference, tolerance)
        }
        return null
      },
    },
  ]
}

/** What no option and no part of a tensor may be. */
const WRONG: readonly unknown[] = [
  null,
  NaN,
  -1,
  0.5,
  1e300,
  Infinity,
  '1',
  '',
  [],
  {},
  () => 1,
  Symbol('wrong'),
  2n ** 70n,
  new Array(3),
  Object.create(null),
  new Float64Array(3),
  new DataView(new ArrayBuffer(8)),
]

/** One wrong value in a call, wherever it may be: a typed error, or a call to which it was none. */
export function invalidCalls(shared: Runtime): Promised {
  const changed = (random: Random, tensor: Tensor): unknown => {
    const wrong = random.pick(WRONG)
    return random.pick([
      wrong,
      { ...tensor, data: wrong },
      { ...tensor, shape: wrong },
      { ...tensor, shape: [...tensor.shape.slice(1), wrong] },
      { data: tensor.data.subarray(1), shape: tensor.shape },
    ])
  }
  return {
    promise: 'invalid calls are refused by a HeddleError',
    most: 10_000,
    attempt: async (random) => {
      const tensor = normalTensor(random, [random.integer(1, 9), random.integer(1, 9)])
      const inputs: Record<string, unknown> = { query: tensor, key: tensor, value: tensor }
      const options: Record<string, unknown> = {}
      if (random.chance(0.5)) inputs[random.pick(['query', 'key', 'value'])] = changed(random, tensor)
      else options[random.chance(0.95) ? random.pick(OPTION_NAMES) : 'typo'] = random.pick(WRONG)
      try {
        const { output } = await shared.attention(inputs as unknown as AttentionInputs, options)
        ensure(
          output.data.every(Number.isFinite),
          `expected a HeddleError or a finite output for ${describe(inputs, options)}`,
        )
      } catch (error) {
        ensure(
          error instanceof HeddleError,
          `expected a HeddleError for ${describe(inputs, options)}, got ${String(error)}`,
        )
      }
      return null
    },
  }
}

function describe(inputs: Record<string, unknown>, options: Record<string, unknown>): string {
  const text = (value: unknown): string =>
    typeof value === 'object' && value !== null ? `{${Object.keys(value).join(', ')}}` : String(value)
  return [...Object.entries(inputs), ...Object.entries(options)]
    .map(([name, value]) => `${name}: ${text(value)}`)
    .join(', ')
}

/** Bytes of a file changed, cut or added, 50 files per case. */
export function mutatedFiles(): Promised {
  return {
    promise: 'mutated safetensors files (50 per case) are read, or refused by a HeddleError',
    most: 2000,
    attempt: async (random) => {
      const parts = Array.from(
        { length: random.integer(0, 4) },
        (_, at) => [`layer.${at}`, normalTensor(random, [random.integer(0, 3), random.integer(1, 4)])] as const,
      )
      const original = await bytesOf(writeSafetensors(Object.fromEntries(parts)))
      for (let file = 0; file < 50; file++) {
        const bytes = mutated(random, original)
        try {
          const { tensors } = await readSafetensors(bytes)
          for (const { data, shape } of Object.values(tensors))
            ensure(
              data.length === shape.reduce((product, size) => product * size, 1),
              `expected data of shape ${shape.join('×')}, got ${data.length} elements`,
            )
        } catch (error) {
          ensure(error instanceof HeddleError, `expected a HeddleError, got ${String(error)}`)
        }
      }
      return null
    },
  }
}

async function bytesOf(written: unknown): Promise<Uint8Array> {
  return new Uint8Array(await new Blob([(await written) as Uint8Array<ArrayBuffer>]).arrayBuffer())
}

function mutated(random: Random, original: Uint8Array): Uint8Array {
  let bytes = original.slice()
  for (let change = random.integer(1, 3); change > 0; change--) {
    const at = random.integer(0, Math.max(0, bytes.length - 1))
    const kind = random.integer(0, 4)
    // The header is where most of it can go wrong.
    if (kind <= 1) bytes[random.chance(0.5) ? at : Math.min(at, random.integer(0, 40))] = random.integer(0, 255)
    else if (kind === 2) bytes = bytes.slice(0, at)
    else if (kind === 3) bytes = Uint8Array.from([...bytes.slice(0, at), ...bytes.slice(random.integer(0, at))])
    else bytes = Uint8Array.from([...bytes, random.integer(0, 255)])
  }
  return bytes
}

const LIES: readonly unknown[] = [
  undefined,
  null,
  NaN,
  -1,
  1e300,
  '12',
  [],
  {},
  [null],
  new Float32Array(1),
  new Float64Array(4),
  Infinity,
]

/** Not by `pick`, which refuses undefined. */
function anyLie(random: Random): unknown {
  return LIES[random.integer(0, LIES.length - 1)]
}

/** One answer of a worker with one value changed, anywhere in it. */
export function lies(calm: Runtime): Promised {
  return {
    promise: 'a worker’s answer with a wrong value in it: the same bits, or ProtocolError, and usable after',
    attempt: async (random) => {
      const workload = random.pick(WORKLOADS)
      const expected = await bitsOf(workload, calm)
      let answers = random.integer(0, 6)
      const crew = new Crew(() =>
        throughRelay(new Worker(workerFile), (data) => (answers-- === 0 ? lied(random, data) : data)),
      )
      const startMs = performance.now()
      const run = crew.withRuntime(
        { workers: random.integer(1, 2), sharedMemory: random.pick(['auto', 'never'] as const) },
        async (runtime) => {
          const outcome = await outcomeOf(workload.run(runtime))
          const settledMs = performance.now() - startMs
          ensureOutcome(outcome, expected, ['ProtocolError', 'WorkerLostError'])
          answers = -1
          ensureOutcome(await outcomeOf(workload.run(runtime)), expected, [])
          return settledMs
        },
      )
      return run.catch((error: unknown) => {
        ensureOutcome({ error }, '', ['ProtocolError', 'BackendUnavailableError'])
        return performance.now() - startMs
      })
    },
  }
}

/**
 * The message with one field of its value replaced: at the top, or in one of its results. Output that is wrong in its
 * numbers alone cannot be told.
 */
function lied(random: Random, data: unknown): unknown {
  const message = data as { readonly value?: unknown }
  const value = message.value as Record<string, unknown> | null | undefined
  if (typeof value !== 'object' || value === null) return data
  const [first, ...others] = Array.isArray(value['results']) ? (value['results'] as Record<string, unknown>[]) : []
  const inResult = first !== undefined && random.chance(0.6)
  const target = inResult ? first : value
  const names = Object.keys(target)
  if (names.length === 0) return { ...message, value: anyLie(random) }
  const changed = { ...target, [random.pick(names)]: anyLie(random) }
  return { ...message, value: inResult ? { ...value, results: [changed, ...others] } : changed }
}

export function inputs(calm: Runtime, shared: Runtime): Promised[] {
  return [...validCalls(shared), invalidCalls(shared), mutatedFiles(), lies(calm)]
}
