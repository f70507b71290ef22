const MOST_RUNS = 7
const ENOUGH_MS = 1500

/** Milliseconds of each of two to seven runs: no more once they have taken 1.5 s in all. */
export async function enoughRuns(run: () => unknown): Promise<number[]> {
  const times: number[] = []
  let spent = 0
  while (times.length < MOST_RUNS && (spent < ENOUGH_MS || times.length < 2)) {
    const start = performance.now()
    await run()
    times.push(performance.now() - start)
    spent += times.at(-1) ?? 0
  }
  return times
}
