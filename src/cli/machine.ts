import os from 'node:os'
import { version } from '../core/version.ts'

/** What a measurement must say about where it was made. */
export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryBytes: number
  readonly platform: string
  readonly versions: { readonly heddle: string; readonly node: string; readonly v8: string }
}

export function describeMachine(): Machine {
  const [first] = os.cpus()
  return {
    cpu: (first?.model ?? 'unknown processor').replaceAll(/\s+/g, ' ').trim(),
    cores: os.availableParallelism(),
    memoryBytes: os.totalmem(),
    platform: `${os.type()} ${os.release()} ${os.arch()}`,
    versions: { heddle: version, node: process.versions.node, v8: process.versions.v8 },
  }
}
