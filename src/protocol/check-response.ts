import { ProtocolError } from '../core/errors.ts'
import { describe } from '../core/tensor.ts'
import { PROTOCOL_VERSION, type LaneHello, type Task, type TaskResponse } from './messages.ts'
import { biasGradientShape } from './backward-task.ts'
import { CHUNK_DONE } from './chunk.ts'
import { returnedOfHeads } from './heads-task.ts'
import { returnedRows } from './returned-rows.ts'
import { partCount } from './pass-parts.ts'
import { RETURNED_ARRAYS, type AttentionTask, type ReturnedName } from './task.ts'

/**
 * Whether what a worker answers is what its tasks may return. A worker can be of a bundler's making, of another
 * release, or broken: its word is checked here, once, before anything is read from it, so that inner code may trust it.
 */

/** A message, before it is known what is in it. */
type Fields = Readonly<Record<string, unknown>>

/** What each kind of task returns. A kind without an entry does not compile. */
const CHECKS: { readonly [Kind in Task['kind']]: (task: Extract<Task, { kind: Kind }>, result: Fields) => void } = {
  attention(task, result) {
    for (const name of Object.keys(RETURNED_ARRAYS) as ReturnedName[]) {
      if (task[name] === true)
        checkArray(`result.${name}`, RETURNED_ARRAYS[name], returnedElements(task, name), result[name])
    }
    checkTiles(result)
  },
  'attention-heads'(task, result) {
    const expected = returnedOfHeads(task)
    const returned = fields('result.returned', result['returned'])
    checkLength('result.returned', expected.length, returned)
    expected.forEach(({ kind, length }, index) =>
      checkArray(`result.returned[${index}]`, kind, length, returned[index]),
    )
    checkTiles(result)
  },
  'attention-backward'(task, result) {
    const {
      heads,
      rows,
      settings: { headSize, valueSize },
      keyStart,
      keyEnd,
      biasGradient,
    } = task
    const keys = keyEnd - keyStart
    if (heads.some(({ dQuery }) => dQuery === true))
      checkArray('result.dQuery', 'Float32Array', heads.length * rows * headSize, result['dQuery'])
    if (task.dKey === true) checkArray('result.dKey', 'Float32Array', keys * headSize, result['dKey'])
    if (task.dValue === true) checkArray('result.dValue', 'Float32Array', keys * valueSize, result['dValue'])
    if (biasGradient !== undefined && heads.some(({ dBias }) => dBias === true)) {
      const [biasRows, width] = biasGradientShape(biasGradient, rows, keys)
      checkArray('result.dBias', 'Float32Array', heads.length * biasRows * width, result['dBias'])
    }
    if (task.slopeGradient) checkArray('result.dAlibiSlopes', 'Float64Array', heads.length, result['dAlibiSlopes'])
    checkTiles(result)
  },
  'attention-bias'({ parts: [first], dBias }, result) {
    const elements = first === undefined ? 0 : first.rows * (first.keyEnd - first.keyStart)
    if (dBias === true) checkArray('result.dBias', 'Float32Array', elements, result['dBias'])
    checkTiles(result)
  },
  'attention-transposed'({ output, keyStart, keyEnd, settings: { valueSize } }, result) {
    if (output === true) checkArray('result.output', 'Float32Array', (keyEnd - keyStart) * valueSize, result['output'])
    checkTiles(result)
  },
  stage({ stage, chunk }, result) {
    const stored = fields('result.stored', result['stored'])
    const returned = returnedRows(stage, chunk)
    checkLength('result.stored', returned.length, stored)
    returned.forEach(({ length, integers }, index) =>
      checkArray(`result.stored[${index}]`, integers ? 'Int32Array' : 'Float32Array', length, stored[index]),
    )
  },
  pass({ stages, claims, alone }, result) {
    checkCount('result.tasks', result['tasks'])
    const partMs = fields('result.partMs', result['partMs'])
    checkLength('result.partMs', partCount(stages), partMs)
    for (const ms of Object.values(partMs)) checkNumber('result.partMs', ms)
    if (alone !== undefined) {
      const returned = fields('result.returned', result['returned'])
      checkLength('result.returned', alone.returned.length, returned)
      alone.returned.forEach((id, index) => {
        const made = alone.made.find((each) => each.id === id)
        checkArray(
          `result.returned[${index}]`,
          made?.integers === true ? 'Int32Array' : 'Float32Array',
          made?.length ?? 0,
          returned[index],
        )
      })
      return
    }
    if (claims.some((claim) => claim !== CHUNK_DONE))
      throw wrong('a share of a pass', 'to end when every chunk is done', 'chunks that are not')
  },
}

/** @throws {ProtocolError} unless the response holds the results of these tasks */
export function checkResponse(tasks: readonly Task[], response: unknown): asserts response is TaskResponse {
  const { results, residentBytes, keptBytes, besideBytes, stageBytes, besideStageBytes, fallbacks } = fields(
    'response',
    response,
  )
  checkCount('response.residentBytes', residentBytes)
  checkCount('response.keptBytes', keptBytes)
  checkCount('response.besideBytes', besideBytes)
  checkCount('response.stageBytes', stageBytes)
  checkCount('response.besideStageBytes', besideStageBytes)
  if (!Array.isArray(fallbacks)) throw wrong('response.fallbacks', 'an array', describe(fallbacks))
  for (const fallback of fallbacks as unknown[]) {
    const { what, reason } = fields('response.fallbacks', fallback)
    if (typeof what !== 'string' || typeof reason !== 'string')
      throw wrong('response.fallbacks', 'a text and a reason', describe(fallback))
  }
  checkLength('response.results', tasks.length, fields('response.results', results))
  tasks.forEach((task, index) => checkResult(task, fields('result', (results as unknown[])[index])))
}

function checkResult<Kind extends Task['kind']>(task: Extract<Task, { kind: Kind }>, result: Fields): void {
  checkNumber('result.elapsedMs', result['elapsedMs'])
  const check = CHECKS[task.kind] as (task: Extract<Task, { kind: Kind }>, result: Fields) => void
  check(task, result)
}

/** @throws {ProtocolError} unless it is the answer to a start, by a worker of this release */
export function checkHello(hello: unknown): asserts hello is LaneHello {
  const { version, kernels, residentBytes, facts } = fields('answer to start()', hello)
  if (version !== PROTOCOL_VERSION) {
    throw new ProtocolError(
      `worker: expected protocol version ${PROTOCOL_VERSION}, got ${String(version)}: the worker file is from another release`,
    )
  }
  if (typeof kernels !== 'string') throw wrong('kernels', 'the name of the kernels', describe(kernels))
  checkCount('residentBytes', residentBytes)
  if (facts !== undefined) fields('facts', facts)
}

function checkTiles(result: Fields): void {
  checkCount('result.tiles', result['tiles'])
  checkCount('result.skippedTiles', result['skippedTiles'])
}

function returnedElements(task: AttentionTask, name: ReturnedName): number {
  const { settings, rows, weightRows } = task
  if (name === 'weights') return (weightRows?.length ?? rows) * settings.keys
  return rows * (name === 'output' ? settings.valueSize : 1)
}

function fields(what: string, value: unknown): Fields {
  if (typeof value !== 'object' || value === null) throw wrong(what, 'an object', describe(value))
  return value as Fields
}

function checkLength(what: string, length: number, list: Fields): void {
  if (!Array.isArray(list) || list.length !== length)
    throw wrong(what, `a list of ${length}`, Array.isArray(list) ? `${list.length}` : describe(list))
}

/** By its brand: where a host runs tests in a context of their own, what workers send is of another realm. */
function checkArray(what: string, kind: string, elements: number, value: unknown): void {
  const array = ArrayBuffer.isView(value)
    ? (value as unknown as { readonly length: number; readonly [Symbol.toStringTag]: string })
    : undefined
  if (array?.[Symbol.toStringTag] !== kind) throw wrong(what, `a ${kind} of ${elements} elements`, describe(value))
  if (array.length !== elements) throw wrong(what, `${elements} elements`, `${array.length}`)
}

function checkNumber(what: string, value: unknown): void {
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0)
    throw wrong(what, 'a finite number ≥ 0', describe(value))
}

function checkCount(what: string, value: unknown): void {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw wrong(what, 'an integer ≥ 0', describe(value))
}

function wrong(what: string, expectation: string, got: string): ProtocolError {
  return new ProtocolError(`worker: ${what}: expected ${expectation}, got ${got}`)
}
