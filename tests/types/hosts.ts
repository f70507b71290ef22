// Compiled, never run: the host's own types fit the shapes that Heddle's declarations name. Needs the DOM library.
import { attention, createRuntime, HeddleError, OptionError, type AnyWorker, type Tensor } from 'heddle'
import { loadModel } from 'heddle/models'
import { readSafetensors } from 'heddle/nn'

export async function inPages(x: Tensor, list: FileList, file: File, response: Response): Promise<void> {
  const signal: AbortSignal = new AbortController().signal
  await attention({ query: x, key: x, value: x }, { signal })
  const makeWorker = (): AnyWorker => new Worker('worker.js', { type: 'module' })
  await createRuntime({ workerFactory: makeWorker, workerUrl: new URL('https://example.org/worker.js') })
  await createRuntime({ workerFactory: () => new Worker('worker.js') })
  await loadModel(list)
  await loadModel([file], { signal })
  await readSafetensors(file)
  await readSafetensors(new Uint8Array(8))
  if (response.body !== null) await readSafetensors(response.body)
}

export function ofErrors(error: unknown): string {
  if (OptionError.is(error)) return error.code
  return HeddleError.is(error) ? error.message : ''
}
