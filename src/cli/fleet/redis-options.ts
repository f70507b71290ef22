import type { OptionValues } from '../command.ts'
import { stringOption } from '../option-values.ts'
import { UsageError } from '../usage-error.ts'

/** The options that say which queue. An address in the environment keeps its password out of the list of processes. */
export const REDIS_OPTIONS = {
  redis: { type: 'string', value: 'URL', summary: 'redis://… or rediss://…; otherwise the variable HEDDLE_REDIS_URL' },
  queue: { type: 'string', value: 'NAME', summary: "the queue's name (default: heddle)" },
} as const

/** @throws {UsageError} when no address is given */
export function redisOptions(values: OptionValues): { connection: string; queue?: string } {
  const connection = stringOption(values, 'redis') ?? process.env['HEDDLE_REDIS_URL']
  if (connection === undefined) throw new UsageError('expected --redis URL, or the variable HEDDLE_REDIS_URL')
  const queue = stringOption(values, 'queue')
  return { connection, ...(queue !== undefined && { queue }) }
}
