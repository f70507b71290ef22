import { availableParallelism, cpus } from 'node:os'

/** Where figures were measured, as results files state it. */
export function thisMachine() {
  return {
    node: process.version,
    processor: cpus()[0]?.model,
    cores: availableParallelism(),
    platform: `${process.platform} ${process.arch}`,
  }
}
