// The forward and backward pass of a stack of blocks (E 512, 8 heads, feed-forward 2048, GELU, batch 1) against its
// forward pass alone: where the insides of the blocks are kept, and where they are computed again, but for those of the
// last block, which are still there. The ratio of times stands beside that of FLOPs, from the plans. In turns; medians.
// Prints a line for each; writes build/bench-backward-layers.json.
//
// npm run bench:backward-layers -- [--tokens 512,2048] [--workers 1,2] [--rounds 9] [--norm pre|post] [--blocks 4]
// [--quick]
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { build } from 'esbuild'
import { bundleForNode } from './bench/bundle.mjs'
import { thisMachine } from './bench/this-machine.mjs'

process.chdir(path.resolve(fileURLToPath(import.meta.url), '../..'))
const { values } = parseArgs({
  options: {
    tokens: { type: 'string', default: '512,2048' },
    workers: { type: 'string', default: '1,2' },
    rounds: { type: 'string', default: '9' },
    norm: { type: 'string', default: 'pre' },
    blocks: { type: 'string', default: '4' },
    quick: { type: 'boolean', default: false },
  },
})
const numbers = (text) => text.split(',').map(Number)
const rounds = values.quick ? 2 : Number(values.rounds)
const folder = path.resolve('build/bench-backward-layers')
await bundleForNode(folder, { measure: 'bench/nn/stack-gradients.ts' })
const { measureGradients } = await import(pathToFileURL(`${folder}/measure.mjs`).href)
const heddle = await import('heddle')

const results = []
console.log(
  `Node ${process.versions.node}, ${values.blocks} ${values.norm}-norm block${values.blocks === '1' ? '' : 's'}, E 512, 8 heads; forward + backward against forward`,
)
for (const tokens of values.quick ? [256] : numbers(values.tokens)) {
  for (const workers of numbers(values.workers)) {
    const times = await measureGradients(
      { tokens, workers, rounds, norm: values.norm, blocks: Number(values.blocks) },
      heddle,
    )
    results.push({ tokens, workers, ...times })
    console.log(
      `  n ${String(tokens).padEnd(5)} ${workers} worker${workers === 1 ? ' ' : 's'}  forward ${times.forwardMs.toFixed(1)} ms`,
    )
    for (const [keeps, { ms, ratio, flopRatio, gigaflops }] of Object.entries(times.kept)) {
      console.log(
        `    keeps ${keeps.padEnd(9)} ${ms.toFixed(1).padStart(8)} ms  ${ratio.toFixed(2)} × in time, ${flopRatio.toFixed(2)} × in FLOPs (${(ratio / flopRatio).toFixed(2)})  ${gigaflops.toFixed(1)} GFLOP/s`,
      )
    }
  }
}
const machine = thisMachine()
await writeFile('build/bench-backward-layers.json', JSON.stringify({ machine, results }, null, 2))
console.log('written to build/bench-backward-layers.json')
process.exit(0)
