/**
 * `npm run models [-- NAME…] [-- --check]`: trains the small models in models/ again, each with the command that stands
 * in its card, and writes the model, its figures and its card. With `--check` nothing is written: the bytes are
 * compared.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { modelCard } from './models/model-card.mjs'
import { MODELS } from './models/recipes.mjs'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const FOLDER = path.join(ROOT, 'models')

const check = process.argv.includes('--check')
const asked = process.argv.slice(2).filter((name) => name !== '--check')
const unknown = asked.filter((name) => !MODELS.some((model) => model.name === name))
if (unknown.length > 0)
  throw new Error(`expected names among ${MODELS.map(({ name }) => name).join(', ')}, got ${unknown.join(', ')}`)

await mkdir(FOLDER, { recursive: true })
for (const model of MODELS.filter(({ name }) => asked.length === 0 || asked.includes(name))) {
  console.log(`${model.name}: heddle ${model.args.join(' ')}`)
  const { report, file } = await trained(model)
  const hash = createHash('sha256').update(file).digest('hex')
  if (check) await compare(model, hash)
  else await save(model, { report, file, hash })
}

/**
 * Trains in a folder of its own. A model that does not do what its task asks for ends the script, and its folder stays.
 */
async function trained({ args }) {
  const out = await mkdtemp(path.join(os.tmpdir(), 'heddle-models-'))
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [path.join(ROOT, 'dist', 'cli.js'), ...args, '--json', '--out', out],
    { cwd: ROOT, maxBuffer: 2 ** 28 },
  ).catch((cause) => {
    throw new Error(`expected a model that does what its task asks for; see ${out}`, { cause })
  })
  const report = JSON.parse(stdout)
  const file = await readFile(path.join(out, `train-${report.settings.task}.safetensors`))
  await rm(out, { recursive: true })
  return { report, file }
}

async function compare({ name }, hash) {
  const { sha256 } = JSON.parse(await readFile(path.join(FOLDER, `${name}.json`), 'utf8'))
  console.log(hash === sha256 ? '  the same bytes' : `  other bytes: expected sha256 ${sha256}, got ${hash}`)
  if (hash !== sha256) process.exitCode = 1
}

async function save(model, { report, file, hash }) {
  const { log, ...rest } = report
  const figures = {
    name: model.name,
    command: `heddle ${model.args.join(' ')}`,
    sha256: hash,
    bytes: file.length,
    steps: log.length,
    ...rest,
  }
  await writeFile(path.join(FOLDER, `${model.name}.safetensors`), file)
  await writeFile(path.join(FOLDER, `${model.name}.json`), `${JSON.stringify(figures, null, 2)}\n`)
  await writeFile(path.join(FOLDER, `${model.name}.md`), modelCard(model, figures))
  console.log(
    `  ${file.length} bytes, held-out loss ${report.best.loss.toFixed(3)} (bigram ${report.baselines.bigram.toFixed(3)}), ${(report.elapsedMs / 1000).toFixed(0)} s of steps`,
  )
}
