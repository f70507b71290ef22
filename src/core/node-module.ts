/** A Node built-in, or undefined outside of Node. Without an import: bundlers for the web would stumble over one. */
export function nodeModule(id: string): unknown {
  return (globalThis as { process?: { getBuiltinModule?: (id: string) => unknown } }).process?.getBuiltinModule?.(id)
}
