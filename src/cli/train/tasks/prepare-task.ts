import { OptionError } from '../../../index.ts'
import { UsageError } from '../../usage-error.ts'
import type { TrainSettings } from '../train-settings.ts'
import { prepareNames } from './names-task.ts'
import type { PreparedTask } from './prepared-task.ts'
import { prepareSymbols } from './symbol-tasks.ts'
import { prepareText } from './text-task.ts'

/** The data of a task. @throws {UsageError} when it cannot be had, or does not fit the settings */
export async function prepareTask(settings: TrainSettings): Promise<PreparedTask> {
  const { task } = settings
  try {
    if (task === 'names') return prepareNames(settings)
    if (task === 'text') return await prepareText(settings)
    return prepareSymbols({ ...settings, task })
  } catch (cause) {
    if (!(cause instanceof OptionError)) throw cause
    throw new UsageError(cause.message, { cause })
  }
}
