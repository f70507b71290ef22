import { createRuntime } from 'heddle'
import { embed, loadWords } from './words.js'

const D = 64
const element = (id) => document.getElementById(id)
let runtime
let controller

element('form').addEventListener('submit', (event) => {
  event.preventDefault()
  void attend(Number(element('tokens').value), element('word').value.trim().toLowerCase())
})
element('stop').addEventListener('click', () => controller?.abort(new DOMException('Stopped.', 'AbortError')))

async function attend(count, word) {
  controller = new AbortController()
  setRunning(true)
  try {
    const words = await loadWords(count)
    const row = words.indexOf(word)
    if (row < 0) throw new Error(`The first ${words.length} words have no “${word}”.`)
    // The pool is made once, at first use, and then kept.
    runtime ??= await createRuntime()
    const tokens = runtime.tensor([words.length, D])
    embed(words, D, tokens.data)
    const inputs = { query: tokens, key: tokens, value: tokens }
    const options = {
      scale: 64,
      returnWeights: { rows: [row] },
      returnStatistics: true,
      signal: controller.signal,
      onProgress: showProgress,
    }
    element('plan').textContent = runtime.plan(inputs, options).explain()
    const { weights, statistics, report } = await runtime.attention(inputs, options)
    showFinding(words, word, weights.data, statistics.entropy.data[row])
    const seconds = report.elapsedMs / 1000
    element('status').textContent =
      `Done: ${words.length} words in ${seconds.toFixed(2)} s, ${Math.round(words.length / seconds)} a second, on ${report.lanes.length} lanes.`
  } catch (error) {
    element('status').textContent = error.name === 'AbortError' ? 'Stopped.' : `${error.name}: ${error.message}`
  } finally {
    setRunning(false)
  }
}

function setRunning(running) {
  element('run').disabled = running
  element('stop').disabled = !running
  if (running) element('status').textContent = 'Running …'
}

function showProgress({ done, total, remainingMs }) {
  element('progress').value = total === 0 ? 1 : done / total
  if (done < total) element('status').textContent = `Running: about ${(remainingMs / 1000).toFixed(1)} s left`
}

/** The row's weights along the text, and their entropy beside the logarithm of a plain count. */
function showFinding(words, word, weights, entropy) {
  const count = words.filter((other) => other === word).length
  element('finding').textContent =
    `“${word}” stands ${count} times: entropy ${entropy.toFixed(4)}, ln(${count}) = ${Math.log(count).toFixed(4)}.`
  const canvas = element('strip')
  const context = canvas.getContext('2d')
  context.clearRect(0, 0, canvas.width, canvas.height)
  context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue('--accent')
  const largest = weights.reduce((most, weight) => Math.max(most, weight), 0)
  weights.forEach((weight, index) => {
    const height = (weight / largest) * canvas.height
    if (height >= 0.5) context.fillRect((index / weights.length) * canvas.width, canvas.height - height, 1, height)
  })
}
