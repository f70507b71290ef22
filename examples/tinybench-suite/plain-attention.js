/**
 * softmax(Q·Kᵀ / √D)·V by its definition, in plain JavaScript: what a project may have before it has Heddle.
 * All three are [n, d], row-major.
 */
export function plainAttention(query, key, value, n, d) {
  const output = new Float32Array(n * d)
  const weights = new Float64Array(n)
  for (let i = 0; i < n; i++) {
    let largest = -Infinity
    for (let j = 0; j < n; j++) {
      let dot = 0
      for (let c = 0; c < d; c++) dot += query[i * d + c] * key[j * d + c]
      weights[j] = dot / Math.sqrt(d)
      largest = Math.max(largest, weights[j])
    }
    let sum = 0
    for (let j = 0; j < n; j++) sum += weights[j] = Math.exp(weights[j] - largest)
    for (let c = 0; c < d; c++) {
      let total = 0
      for (let j = 0; j < n; j++) total += weights[j] * value[j * d + c]
      output[i * d + c] = total / sum
    }
  }
  return output
}
