import type { Parameter } from './parameter.ts'

/** Something that runs or waits, and which parameters it is about. */
interface Access {
  readonly parameters: Iterable<Parameter>
  readonly ended: Promise<void>
}

const readings = new Set<Access>()
const changes = new Set<Access>()

/**
 * Runs `body`, which reads these parameters from other threads: until it has settled, nobody changes them through
 * `changeParameters`. Waits first while such a change is due; `body` must therefore not begin another read.
 */
export async function readParameters<Result>(
  parameters: Iterable<Parameter>,
  body: () => Promise<Result>,
): Promise<Result> {
  while (changes.size > 0 && (await settled(changes, parameters)));
  return during(readings, parameters, body)
}

/**
 * Calls `change`, which writes to these parameters on this thread, as soon as nobody reads them; reads that begin later
 * wait for it. Changes of the same parameters happen in the order of the calls.
 */
export async function changeParameters(parameters: Iterable<Parameter>, change: () => void): Promise<void> {
  const before = [...readings, ...changes].filter((access) => overlap(access, parameters))
  await during(changes, parameters, async () => {
    if (before.length > 0) await Promise.all(before.map(({ ended }) => ended))
    change()
  })
}

async function during<Result>(
  list: Set<Access>,
  parameters: Iterable<Parameter>,
  body: () => Promise<Result>,
): Promise<Result> {
  let end = (): void => undefined
  const access: Access = { parameters, ended: new Promise((resolve) => (end = resolve)) }
  list.add(access)
  try {
    return await body()
  } finally {
    list.delete(access)
    end()
  }
}

/** Waits for those in the list that are about these parameters. @returns whether there were any */
async function settled(list: ReadonlySet<Access>, parameters: Iterable<Parameter>): Promise<boolean> {
  const others = [...list].filter((access) => overlap(access, parameters))
  await Promise.all(others.map(({ ended }) => ended))
  return others.length > 0
}

function overlap({ parameters }: Access, others: Iterable<Parameter>): boolean {
  const own = new Set(parameters)
  for (const parameter of others) if (own.has(parameter)) return true
  return false
}
