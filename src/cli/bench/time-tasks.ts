import { Bench } from 'tinybench'

/** Something to time, by name. */
export interface TimedTask {
  readonly name: string
  readonly run: () => Promise<unknown>
}

export interface TimingOptions {
  /** calls of each task in all */
  readonly iterations: number
  /** the tasks take turns so many times: a slow moment of the machine then falls on all of them */
  readonly rounds: number
  readonly signal: AbortSignal
}

/**
 * Times tasks in turns. @returns by name, the milliseconds of every call; throws what a task throws, and the abort's
 * reason
 */
export async function timeTasks(
  tasks: readonly TimedTask[],
  { iterations, rounds, signal }: TimingOptions,
): Promise<Map<string, number[]>> {
  const samples = new Map(tasks.map(({ name }): [string, number[]] => [name, []]))
  const turns = Math.min(rounds, iterations)
  for (let turn = 0; turn < turns; turn++) {
    signal.throwIfAborted()
    const share = Math.floor(((turn + 1) * iterations) / turns) - Math.floor((turn * iterations) / turns)
    // A bench never takes its listeners off its signal: each gets a signal of its own, which goes with it.
    const bench = new Bench({
      iterations: share,
      time: 0,
      warmup: false,
      retainSamples: true,
      throws: true,
      signal: AbortSignal.any([signal]),
    })
    // Every other round backwards, so that no task always runs behind the same one.
    for (const { name, run } of turn % 2 === 0 ? tasks : [...tasks].reverse()) bench.add(name, run, { async: true })
    await bench.run()
    for (const { name, result } of bench.tasks) {
      if ('latency' in result) samples.get(name)?.push(...(result.latency.samples ?? []))
    }
  }
  signal.throwIfAborted()
  return samples
}
