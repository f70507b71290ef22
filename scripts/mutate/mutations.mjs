import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { KERNEL_MUTATIONS } from './kernels.mjs'
import { MODEL_MUTATIONS } from './models.mjs'
import { NN_MUTATIONS } from './nn.mjs'
import { PLAN_MUTATIONS } from './plans.mjs'
import { PROGRAM_MUTATIONS } from './programs.mjs'
import { RUNTIME_MUTATIONS } from './runtime.mjs'
import { TRAINING_MUTATIONS } from './training.mjs'
import { WEBGPU_MUTATIONS } from './webgpu.mjs'

/** @type {readonly import('./mutations.d.mts').Mutation[]} */
export const MUTATIONS = [
  ...NN_MUTATIONS,
  ...RUNTIME_MUTATIONS,
  ...PLAN_MUTATIONS,
  ...PROGRAM_MUTATIONS,
  ...TRAINING_MUTATIONS,
  ...MODEL_MUTATIONS,
  ...KERNEL_MUTATIONS,
  ...WEBGPU_MUTATIONS,
]

/**
 * @param {string} root of the checkout
 * @throws with every fault that cannot be put in any more, because the code has changed
 */
export async function checkMutations(root) {
  const outdated = []
  for (const { what, file, from } of MUTATIONS) {
    const source = await readFile(path.join(root, file), 'utf8').catch(() => '')
    const places = source.split(from).length - 1
    if (places !== 1) outdated.push(`${what}: expected ${JSON.stringify(from)} once in ${file}, got it ${places} times`)
  }
  if (outdated.length > 0) throw new Error(`mutate: ${outdated.join('\n')}`)
}
