import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { promisify } from 'node:util'

/** Debian's, which has PyTorch in its package python3-torch. */
const PYTHON = '/usr/bin/python3'

export const hasPython = existsSync(PYTHON)

/**
 * Runs a script of PyTorch on one thread, with the kernels that its BLAS chooses for this processor: where the
 * environment names older ones, a native peer would seem slower than it is.
 *
 * @returns what it printed, as JSON
 * @throws what `execFile` throws; after `timeoutMs` too
 */
export async function runPython(args, timeoutMs) {
  const { OPENBLAS_CORETYPE, OPENBLAS_L2_SIZE, ...others } = process.env
  const { stdout } = await promisify(execFile)(PYTHON, args.map(String), {
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
    env: { ...others, OPENBLAS_NUM_THREADS: '1' },
  })
  return JSON.parse(stdout)
}
