import type { AttentionInputs, AttentionOptions, AttentionResult } from './attention-options.ts'
import { checkCall } from './attention-call.ts'
import { createRuntime } from './create-runtime.ts'
import type { Runtime } from './runtime.ts'

let starting: Promise<Runtime> | null = null

/**
 * The runtime that `attention` shares: made at first use, once for calls that come together; a failed start is tried
 * again.
 */
export function defaultRuntime(): Promise<Runtime> {
  starting ??= createRuntime().catch((error: unknown) => {
    starting = null
    throw error
  })
  return starting
}

/** Ends the default runtime's workers; the next call of `attention` starts it again. */
export async function closeDefaultRuntime(): Promise<void> {
  const started = starting
  starting = null
  await (await started?.catch(() => undefined))?.close()
}

/**
 * `runtime.attention` on a default runtime with one worker a processor, made at first use. Its idle workers do not keep
 * a process alive.
 */
export async function attention(inputs: AttentionInputs, options: AttentionOptions = {}): Promise<AttentionResult> {
  // Read at the call, as `runtime.attention` does: the runtime may take a while to start.
  const call = checkCall(inputs, options)
  return (await defaultRuntime()).attend(call)
}
