/**
 * Processor milliseconds of each contender, over interleaved rounds: wall time would count what other processes take.
 */
export async function interleave(
  contenders: readonly { readonly name: string; run(): unknown }[],
  rounds: number,
): Promise<Map<string, number[]>> {
  const times = new Map<string, number[]>(contenders.map(({ name }) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    for (const contender of contenders) {
      const start = process.cpuUsage()
      await contender.run()
      const { user, system } = process.cpuUsage(start)
      times.get(contender.name)?.push((user + system) / 1000)
    }
  }
  return times
}

export function median(list: readonly number[]): number {
  return [...list].sort((a, b) => a - b)[list.length >> 1] ?? NaN
}

/** The arguments after the bench's name that are numbers. */
export function numbersGiven(): number[] {
  return process.argv
    .slice(3)
    .filter((word) => /^\d/.test(word))
    .map(Number)
}
