/** A text that is a name where a colon follows, or the start or the end of an object. */
const TOKENS = /("[^"\\]*(?:\\.[^"\\]*)*")(\s*:)?|[{}]/gs

/**
 * The first name that an object of a JSON text holds twice, at any depth; undefined where there is none. `JSON.parse`
 * keeps the last one without a word.
 *
 * @param json a text that `JSON.parse` takes
 */
export function nameGivenTwice(json: string): string | undefined {
  const open: Set<string>[] = []
  for (const [token, text, colon] of json.matchAll(TOKENS)) {
    if (token === '{') open.push(new Set())
    else if (token === '}') open.pop()
    else if (text !== undefined && colon !== undefined) {
      const name = JSON.parse(text) as string
      const names = open.at(-1)
      if (names?.has(name)) return name
      names?.add(name)
    }
  }
  return undefined
}
