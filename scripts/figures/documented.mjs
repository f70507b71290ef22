import { readFileSync } from 'node:fs'
import { ReflectionKind } from 'typedoc'

const SIGNATURES = ReflectionKind.CallSignature | ReflectionKind.ConstructorSignature
const MEMBERS =
  ReflectionKind.Class |
  ReflectionKind.Interface |
  ReflectionKind.TypeAlias |
  ReflectionKind.Variable |
  ReflectionKind.Property |
  ReflectionKind.CallSignature |
  ReflectionKind.GetSignature
/** An options object is documented by the members of its type. */
const BY_ITS_TYPE = new Set(['options', 'this', '__namedParameters'])

/**
 * What of the public interface has a docstring: exports, their members, and the parameters of what can be called.
 *
 * @param file the model that typedoc writes as JSON
 * @returns how many there are, those without one, and functions and classes with and without an example
 */
export function documented(file) {
  const found = { members: 0, parameters: 0, missing: [], withExample: 0, withoutExample: [] }
  const model = JSON.parse(readFileSync(file, 'utf8'))
  for (const module of model.children) {
    for (const each of module.children ?? []) countExample(found, module, each)
    walk(found, module, '')
  }
  return found
}

function countExample(found, module, each) {
  if ((each.kind & (ReflectionKind.Function | ReflectionKind.Class)) === 0) return
  const comments = [each.comment, ...(each.signatures ?? []).map(({ comment }) => comment)]
  const has = comments.some((comment) => comment?.blockTags?.some(({ tag }) => tag === '@example'))
  if (has) found.withExample += 1
  else found.withoutExample.push(`${module.name}: ${each.name}`)
}

function walk(found, node, path) {
  if (Array.isArray(node)) return node.forEach((each) => walk(found, each, path))
  if (node === null || typeof node !== 'object') return
  if (node.flags?.isProtected || node.flags?.isExternal || node.inheritedFrom !== undefined) return
  // What a callback takes is said where the callback is.
  if (node.name === '__type' && node.signatures !== undefined) return
  const own = typeof node.name === 'string' && node.kind !== undefined ? `${path}.${node.name}` : path
  if ((node.kind & MEMBERS) !== 0 && !isCallable(node)) count(found, 'members', own, node.comment)
  if ((node.kind & SIGNATURES) !== 0 && node.parameters !== undefined)
    for (const each of node.parameters.filter(({ name }) => !BY_ITS_TYPE.has(name) && !name.startsWith('_')))
      count(found, 'parameters', `${own}(${each.name})`, each.comment)
  for (const [key, value] of Object.entries(node)) if (key !== 'comment' && key !== 'sources') walk(found, value, own)
}

/** A property that holds a function is documented by the signature, and a type that is one by its own docstring. */
function isCallable(node) {
  return node.type?.type === 'reflection' && node.type.declaration.signatures !== undefined
}

function count(found, what, name, comment) {
  found[what] += 1
  if (!comment?.summary?.length && !comment?.blockTags?.length) found.missing.push(name.slice(1))
}
