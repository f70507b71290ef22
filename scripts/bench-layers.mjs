// A post-norm block (E 512, 8 heads, feed-forward 2048) beside the same block on onnxruntime-web and tfjs-wasm: one
// thread against one, and in Chromium two against two (in Node the peers have one). Each contender runs in a process or
// a browser of its own, in turns. Prints a line for each; writes build/bench-layers.json. Beyond the kernels is what a
// pass takes while its busiest lane does nothing: of a block whose plain input and output are copied, and, a block, of
// six with a shared input.
//
//   npm run bench:layers -- [--tokens 512,2048] [--turns 3] [--rounds 7] [--only node|chromium] [--tfjs] [--quick]
//
// --quick: Heddle alone, once. --tfjs: also tfjs-wasm, ten times slower.
import { fork } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { build } from 'esbuild'
import { installPeers, peersFolder, serveHeddle, serveOnnxruntime, serveTfjs } from './bench/peer-packages.mjs'
import { CHROMIUM_FLAGS, findChromium } from './pack-check/chromium.mjs'
import { serveFolder } from './pack-check/serve-folder.mjs'
import { bundleForNode, bundlePage } from './bench/bundle.mjs'
import { thisMachine } from './bench/this-machine.mjs'

process.chdir(path.resolve(fileURLToPath(import.meta.url), '../..'))
const { values } = parseArgs({
  options: {
    tokens: { type: 'string', default: '512,2048' },
    turns: { type: 'string', default: '3' },
    rounds: { type: 'string', default: '7' },
    only: { type: 'string' },
    tfjs: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
  },
})
const sizes = values.tokens.split(',').map(Number)
const [turns, rounds] = values.quick ? [1, 2] : [Number(values.turns), Number(values.rounds)]
const peers = values.quick ? [] : ['onnxruntime-web', ...(values.tfjs ? ['tfjs-wasm'] : [])]
const folder = path.resolve('build/bench-layers')
if (!values.quick) await installPeers(['onnxruntime-web'])
await bundleForNode(folder, { node: 'bench/nn/node.ts', spread: 'src/cli/bench/spread.ts' })
const { spreadOf } = await import(pathToFileURL(`${folder}/spread.mjs`).href)

const results = {}
if (values.only !== 'chromium') {
  console.log(`Node ${process.versions.node}:`)
  results.node = await measureAll({ heddle: [1, 2], peer: [1] }, inNode)
}
if (values.only !== 'node') {
  if (findChromium() === undefined)
    console.log('Chromium: not measured, there is none on the PATH (apt-get install chromium)')
  else
    await withPages(async (run, version) => {
      console.log(`${version}:`)
      results.chromium = await measureAll({ heddle: [1, 2], peer: [1, 2] }, run)
    })
}
const machine = thisMachine()
await writeFile('build/bench-layers.json', JSON.stringify({ machine, results }, null, 2))
console.log('written to build/bench-layers.json')
process.exit(0)

/** Every contender at every size, in turns, so that a slow moment of the machine falls on all. */
async function measureAll(threads, run) {
  const rows = []
  for (const tokens of sizes) {
    const contenders = [
      ...threads.heddle.map((count) => ['heddle', count]),
      ...peers.flatMap((peer) => threads.peer.map((count) => [peer, count])),
    ]
    const atSize = contenders.map(([contender, count]) => ({
      contender,
      threads: count,
      tokens,
      times: [],
      overheads: [],
      stackOverheads: [],
    }))
    for (let turn = 0; turn < turns; turn++) {
      for (const row of turn % 2 === 0 ? atSize : [...atSize].reverse()) {
        const { flops, times, overheads, stackOverheads } = await run({
          contender: row.contender,
          threads: row.threads,
          tokens,
          rounds,
        })
        row.flops = flops
        row.times.push(...times)
        row.overheads.push(...overheads)
        row.stackOverheads.push(...stackOverheads)
      }
    }
    for (const row of atSize) row.spread = spreadOf(row.times)
    for (const row of atSize) console.log(lineOf(row, atSize))
    rows.push(...atSize)
  }
  return rows
}

/** A contender's time, and for Heddle how it stands against peers with as many threads, or with all that they have. */
function lineOf({ contender, threads, tokens, flops, spread, overheads, stackOverheads }, rows) {
  const rivals = rows.filter(
    (row) =>
      row.contender !== 'heddle' &&
      row.threads ===
        Math.min(
          threads,
          Math.max(...rows.filter(({ contender: name }) => name === row.contender).map((other) => other.threads)),
        ),
  )
  const ratios =
    contender === 'heddle'
      ? rivals.map((row) => `${(row.spread.medianMs / spread.medianMs).toFixed(2)} × ${row.contender} (${row.threads})`)
      : []
  const overhead = overheads.length === 0 ? [] : [`${spreadOf(overheads).medianMs.toFixed(2)} ms beyond the kernels`]
  if (stackOverheads.length > 0) overhead.push(`${spreadOf(stackOverheads).medianMs.toFixed(2)} ms a block in a stack`)
  const time = `${spread.medianMs.toFixed(1).padStart(8)} ms (${spread.lowMs.toFixed(1)} – ${spread.highMs.toFixed(1)})`
  return `  n ${String(tokens).padEnd(5)} ${`${contender}, ${threads} thread${threads === 1 ? '' : 's'}`.padEnd(27)} ${time}  ${(flops / spread.medianMs / 1e6).toFixed(1)} GFLOP/s  ${[...overhead, ...ratios].join(', ')}`.trimEnd()
}

function inNode(bench) {
  return new Promise((resolve, reject) => {
    const child = fork(`${folder}/node.mjs`, [JSON.stringify(bench), peersFolder])
    let measured
    child.on('message', (message) => (measured = message))
    child.on('exit', (code) =>
      measured === undefined
        ? reject(new Error(`expected times of the bench, but its process ended with ${code}`))
        : resolve(measured),
    )
  })
}

/** Gives `body` a way to measure in a page of a fresh browser: peers settle their threads once a page. */
async function withPages(body) {
  await serveHeddle(folder, ['index', 'nn'])
  await serveTfjs(folder)
  if (!values.quick) await serveOnnxruntime(folder)
  await bundlePage(folder, 'bench/nn/page.ts')
  const server = await serveFolder(folder, { policy: null, isolated: true })
  const { chromium } = await import('playwright-core')
  const open = async (use) => {
    const browser = await chromium.launch({ executablePath: findChromium(), args: CHROMIUM_FLAGS })
    try {
      return await use(browser)
    } finally {
      await browser.close()
    }
  }
  try {
    await body(
      (bench) => open((browser) => inPage(browser, server.address, bench)),
      await open((browser) => `Chromium ${browser.version()}`),
    )
  } finally {
    await server.close()
  }
}

async function inPage(browser, address, bench) {
  const page = await browser.newPage()
  page.setDefaultTimeout(0)
  await page.goto(address)
  await page.waitForFunction(() => globalThis.benchBlock !== undefined)
  return await page.evaluate((asked) => globalThis.benchBlock(asked), bench)
}
