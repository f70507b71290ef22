import { cp, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { assert, npm, run } from './commands.mjs'
import { serveFolder } from './serve-folder.mjs'
import { withPage } from './chromium.mjs'

/** Each example, copied out of the repository, with the packed tarball in place of the registry's. */
export function exampleChecks({ tarball }, root, folder) {
  const install = async (name) => {
    const cwd = path.join(folder, name)
    await cp(path.join(root, 'examples', name), cwd, {
      recursive: true,
      filter: (file) => !/node_modules|dist/.test(path.relative(root, file)),
    })
    await npm(['install', tarball], cwd)
    return cwd
  }
  return [
    {
      name: 'example node-worker-threads: runs, with the same bits on one thread and on all',
      run: async () => checkNode(await install('node-worker-threads')),
    },
    {
      name: 'example tinybench-suite: runs a comparison',
      run: async () => checkBench(await install('tinybench-suite')),
    },
    {
      name: "example custom-layer: a layer of one's own learns",
      run: async () => checkLayer(await install('custom-layer')),
    },
    {
      name: 'example document-search: finds the passage that answers',
      run: async () => checkSearch(await install('document-search')),
    },
    {
      name: 'example document-search: the same as a page, under a strict content security policy',
      run: () => checkSearchPage(path.join(folder, 'document-search')),
    },
    {
      name: "the command: an installed heddle doctor compares a model with another implementation's numbers",
      run: () => checkDoctor(path.join(folder, 'document-search'), path.join(root, 'tests/fixtures/hub-models/bert')),
    },
    {
      name: 'example vite-app: builds, attends in a tab, and stops',
      run: async () => checkVite(await install('vite-app')),
    },
    {
      name: 'the command: an installed heddle runs over a text',
      run: () => checkCommand(path.join(folder, 'node-worker-threads')),
    },
  ]
}

async function checkNode(cwd) {
  const { stdout } = await npm(['start'], cwd)
  for (const expected of [
    'chunked attention',
    'tasks on',
    'stopped: no longer needed',
    'same bits on one thread and on all',
  ]) {
    assert(stdout.includes(expected), `expected '${expected}' in:\n${stdout}`)
  }
}

async function checkBench(cwd) {
  const { stdout } = await npm(['run', 'bench'], cwd)
  for (const expected of ['n = 1024', 'plain JavaScript', 'heddle, chunked', 'heddle, standard'])
    assert(stdout.includes(expected), `expected '${expected}' in:\n${stdout}`)
}

async function checkLayer(cwd) {
  const { stdout } = await npm(['start'], cwd)
  assert(
    /mean squared error 0\.\d+ before, 0\.\d+ after 20 steps/.test(stdout),
    `expected the errors before and after in:\n${stdout}`,
  )
}

async function checkSearch(cwd) {
  for (const [question, expected] of [
    [[], /^0\.\d+ {2}weaving\.txt: The heddle/m],
    [['spring tide at full moon'], /^0\.\d+ {2}tides\.txt: The sun raises tides/m],
  ]) {
    const { stdout } = await run('node', ['main.js', ...question], { cwd })
    const [best] = stdout.split('\n').filter((line) => /^\d\.\d+ {2}/.test(line))
    assert(expected.test(best ?? ''), `expected ${expected} first in:\n${stdout}`)
  }
}

async function checkSearchPage(cwd) {
  await npm(['run', 'build'], cwd)
  const server = await serveFolder(path.join(cwd, 'dist'))
  try {
    return await withPage(async (page) => {
      await page.goto(server.address)
      await page.click('#example')
      await page.waitForSelector('#question:enabled')
      await page.fill('#question', 'spring tide at full moon')
      await page.click('#search')
      const best = await page.textContent('#results li:first-child')
      assert(/^tides\.txt · 0\.\d+The sun raises tides/.test(best), `expected the passage about tides, got '${best}'`)
    })
  } finally {
    await server.close()
  }
}

/** PyTorch's numbers of a tiny model pass; with one of them changed they do not. */
async function checkDoctor(cwd, model) {
  const heddle = path.join(cwd, 'node_modules', '.bin', 'heddle')
  const file = path.join(model, 'expected.json')
  const { stdout } = await run(heddle, ['doctor', '--model', model, '--expect', file, '--json'], { cwd })
  const { family, cases } = JSON.parse(stdout)
  assert(
    family === 'bert' && cases.length === 3 && cases.every(({ passed }) => passed),
    `expected three cases of bert that pass, got ${stdout}`,
  )
  const changed = JSON.parse(await readFile(file, 'utf8'))
  changed.cases[0].lastHiddenState[0][0] += 1
  await writeFile(path.join(cwd, 'changed.json'), JSON.stringify(changed))
  const refused = await run(heddle, ['doctor', '--model', model, '--expect', 'changed.json'], { cwd }).then(
    () => null,
    (error) => error.message,
  )
  assert(refused?.includes('failed (1)') === true, `expected the exit status 1 for another number, got ${refused}`)
}

async function checkVite(cwd) {
  await npm(['run', 'build'], cwd)
  const server = await serveFolder(path.join(cwd, 'dist'))
  try {
    return await withPage(async (page) => {
      await page.goto(server.address)
      await page.fill('#tokens', '6000')
      await page.click('#run')
      await page.waitForFunction(
        () => /^(Done|[A-Z]\w*Error)/.test(document.getElementById('status').textContent),
        undefined,
        { timeout: 60_000 },
      )
      const status = await page.textContent('#status')
      assert(status.startsWith('Done: 6000 words'), `expected a result, got '${status}'`)
      const [, entropy, expected] =
        /entropy (\d+\.\d+), ln\(\d+\) = (\d+\.\d+)/.exec(await page.textContent('#finding')) ?? []
      assert(Math.abs(entropy - expected) < 1e-3, `expected an entropy of ${expected}, got ${entropy}`)
      await page.fill('#tokens', '60000')
      await page.click('#run')
      await page.click('#stop')
      await page.waitForFunction(() => document.getElementById('status').textContent === 'Stopped.', undefined, {
        timeout: 5000,
      })
    })
  } finally {
    await server.close()
  }
}

async function checkCommand(cwd) {
  const text = 'the whale the sea the ship a whale a sea '.repeat(40)
  await writeFile(path.join(cwd, 'text.txt'), text)
  const heddle = path.join(cwd, 'node_modules', '.bin', 'heddle')
  const { stdout } = await run(heddle, ['run', '--text', 'text.txt', '--json'], { cwd })
  const report = JSON.parse(stdout)
  assert(
    report.check.checks.length === 3 && report.check.checks.every(({ passed }) => passed),
    `expected three passed checks, got ${JSON.stringify(report.check)}`,
  )
  const { stdout: version } = await run(heddle, ['--version'], { cwd })
  assert(/^\d+\.\d+\.\d+/.test(version), `expected a version, got '${version}'`)
}
