/** The card of a model as Markdown. @param figures what `models/NAME.json` holds */
export function modelCard({ name, title, about, limits, data }, figures) {
  const {
    command,
    sha256,
    bytes,
    settings,
    facts,
    parameters,
    baselines,
    best,
    findings,
    note,
    samples,
    elapsedMs,
    machine,
    steps,
    date,
  } = figures
  const loss = (value) => value.toFixed(3)
  return `# ${title}

${about}

| | |
| --- | --- |
| file | \`${name}.safetensors\`, ${bytes.toLocaleString('en-US')} bytes, float32 |
| sha256 | \`${sha256}\` |
| command | \`${command}\`, or \`npm run models -- ${name}\` |
| parameters | ${parameters.toLocaleString('en-US')} |
| seed | ${settings.seed} |
| steps | ${steps.toLocaleString('en-US')} of ${settings.batch} × ${settings.length} tokens, AdamW, rate ${settings.learningRate} at its largest |
| time of the steps | ${Math.round(elapsedMs / 1000)} s (${machine.cpu}, ${machine.cores} cores, Node ${machine.versions.node}, heddle ${machine.versions.heddle}, ${date.slice(0, 10)}; the machine had other work) |
| held-out loss | **${loss(best.loss)}** nats per token, at step ${best.step} |
| beside it | chance ${loss(baselines.chance)}, unigram ${loss(baselines.unigram)}, bigram ${loss(baselines.bigram)} |
${findings.map((finding) => `| ${finding.passed ? 'passed' : 'failed'} | ${finding.name}: ${finding.detail} |`).join('\n')}

## Data

${facts.map((fact) => `${fact}.`).join(' ')}

${data}

## Use

\`\`\`ts
import { CausalLanguageModel, readSafetensors } from 'heddle/nn'

const { tensors, metadata } = await readSafetensors(bytes)
const model = new CausalLanguageModel(JSON.parse(metadata.model))
model.loadStateDict(tensors)
${settings.symbols > 0 ? '// tokens are the numbers of symbols: they stand for nothing' : 'const pieces = JSON.parse(metadata.pieces) // the text of each token'}
\`\`\`

${limits}
${written(note, samples)}`
}

/** What the model writes, where it writes. */
function written(note, samples) {
  if (samples.length === 0) return ''
  return `
## What it writes

${note}

> ${samples.join(', ').replaceAll(/\s*\n\s*/g, '\n>\n> ')}
`
}
