// What the script and the page share: texts as passages, passages as vectors, and the passages closest to a question.

/** The paragraphs of a text. */
export function passagesOf(text) {
  return text
    .split(/\n\s*\n/)
    .map((each) => each.trim())
    .filter((each) => each !== '')
}

/**
 * Every passage with its vector. Each text goes through the model whole, and each of its paragraphs gets a vector out of
 * that one pass ("late chunking"), so that it is read in its context. Texts come one after the other: an index of any
 * size needs the memory of a few of them.
 *
 * @param texts `[{ name, passages }]`
 * @param onText hears `{ name, passages, tokens }` of each text that is done
 */
export async function indexTexts(model, texts, { onText, ...options }) {
  const entries = []
  const documents = texts.map(({ passages }) => ({ passages }))
  for await (const { index, spans, tokens } of model.embedStream(documents, { normalize: true, ...options })) {
    const { name, passages } = texts[index]
    onText({ name, passages: passages.length, tokens })
    passages.forEach((passage, at) =>
      entries.push({ name, passage, vector: spans.data.subarray(at * model.modelDim, (at + 1) * model.modelDim) }),
    )
  }
  return entries
}

/**
 * Entries by their cosine with the question, the closest first. What all passages have in common tells nothing about any
 * of them, and is taken off.
 */
export function rank(entries, vector) {
  const mean = vector.map((_, c) => entries.reduce((sum, entry) => sum + entry.vector[c], 0) / entries.length)
  const centred = (values) => values.map((value, c) => value - mean[c])
  const cosine = (a, b) => a.reduce((sum, value, c) => sum + value * b[c], 0) / (Math.hypot(...a) * Math.hypot(...b))
  const asked = centred(vector)
  return entries
    .map((entry) => ({ ...entry, score: cosine(centred(entry.vector), asked) }))
    .sort((a, b) => b.score - a.score)
}
