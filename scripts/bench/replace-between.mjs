import { readFile, writeFile } from 'node:fs/promises'

/** Puts text between two marks of a file; leaves a file without them alone. */
export async function replaceBetween(file, mark, text) {
  const [before, , after] = (await readFile(file, 'utf8')).split(mark)
  if (after !== undefined) await writeFile(file, `${before}${mark}\n${text}\n${mark}${after}`)
}
