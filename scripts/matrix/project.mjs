import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { npm } from '../pack-check/commands.mjs'
import { CALL } from './call.mjs'

/** A package of the case's own, or what it needs of the machine, is not to be had: the case was not tried. */
export class NotTried extends Error {}

const installs = new Map()

/**
 * A folder with the packed package, the case's packages and its files. Cases with the same packages use one folder, one
 * after the other: what the case before left is removed.
 *
 * @param packages what npm installs beside the tarball, as `name@version`
 * @param files name → content, beside `call.js`
 * @param json more fields of its package.json
 */
export async function project(context, { packages = [], files = {}, json = {} }) {
  const folder = path.join(context.folder, slug(packages.join(' ') || 'alone'))
  if (!installs.has(folder)) installs.set(folder, install(folder, context.tarball, packages))
  const manifest = await installs.get(folder)
  await removeAllBut(folder, ['node_modules', 'package-lock.json'])
  for (const cache of ['.vite', '.cache', '.astro'])
    await rm(path.join(folder, 'node_modules', cache), { recursive: true, force: true })
  const all = { 'package.json': JSON.stringify({ ...manifest, ...json }), 'call.js': CALL, ...files }
  for (const [file, content] of Object.entries(all)) {
    await mkdir(path.dirname(path.join(folder, file)), { recursive: true })
    await writeFile(path.join(folder, file), content)
  }
  return folder
}

async function removeAllBut(folder, kept) {
  for (const name of await readdir(folder))
    if (!kept.includes(name)) await rm(path.join(folder, name), { recursive: true, force: true })
}

/** @returns its package.json */
async function install(folder, tarball, packages) {
  const file = path.join(folder, 'package.json')
  await mkdir(folder, { recursive: true })
  await writeFile(file, '{ "name": "app", "private": true, "type": "module" }')
  await npm(['install', tarball], folder)
  try {
    if (packages.length > 0) await npm(['install', ...packages], folder)
  } catch (error) {
    // Its code, or what it says; the paths are those of this machine.
    const lines = error.message.split('\n').filter((each) => /npm error(?! path)/.test(each))
    const line = (lines.find((each) => each.includes('npm error code')) ?? lines[0])?.replaceAll(folder, '')
    throw new NotTried(`${packages.join(', ')} cannot be installed here (${line ?? 'npm failed'})`)
  }
  return JSON.parse(await readFile(file, 'utf8'))
}

function slug(text) {
  return text
    .replace(/[^a-z0-9.]+/gi, '-')
    .replace(/^-|-$/g, '')
    .toLowerCase()
}
