import { execFile } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { promisify } from 'node:util'

/** Installs packages outside of this project's own dependencies. @returns the folder that they are in */
export async function installPeers(folder, packages) {
  await mkdir(folder, { recursive: true })
  await writeFile(`${folder}/package.json`, '{ "private": true }')
  console.log(`installing ${packages.join(', ')} into build/peers`)
  await promisify(execFile)('npm', ['install', '--no-save', '--ignore-scripts', '--no-audit', '--no-fund', ...packages], { cwd: folder })
  return `${folder}/node_modules`
}
