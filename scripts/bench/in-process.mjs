import { fork } from 'node:child_process'

/**
 * Runs a script in a process of its own. Resolves with the message that it sends, or with `{ failure }`: the first line
 * of its errors, or how it ended.
 */
export function inProcess({ script, timeoutMs }, parameters) {
  return new Promise((resolve) => {
    const child = fork(script, parameters.map(String), { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs)
    let outcome
    let text = ''
    child.stderr.on('data', (data) => (text += data))
    child.on('message', (message) => (outcome = message))
    child.on('exit', (code, signal) => {
      clearTimeout(timer)
      resolve(
        outcome ?? {
          failure:
            text
              .split('\n')
              .find((line) => /error|abort|exception/i.test(line))
              ?.trim() ?? ended(code, signal, timeoutMs),
        },
      )
    })
  })
}

/** How a process ended that gave no answer. */
export function ended(code, signal, timeoutMs) {
  return signal === 'SIGKILL' ? `took more than ${timeoutMs / 1000} s` : `ended with ${signal ?? code}`
}
