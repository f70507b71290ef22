/**
 * A compute kernel as the device builds it: pipelines are cached by `key`, so the key names everything that shapes the
 * source.
 */
export interface Kernel {
  readonly label: string
  readonly key: string
  readonly source: string
}

/** The text of `part` for 0 … count − 1, one after the other: WGSL has no unrolled loops and no arrays in registers. */
export function each(count: number, part: (index: number) => string, separator = '\n'): string {
  return Array.from({ length: count }, (_, index) => part(index)).join(separator)
}

export type FieldType = 'u32' | 'i32' | 'f32'

/** A uniform struct of four-byte fields, in order: its WGSL text and its bytes come from the same list. */
export class UniformLayout<Name extends string> {
  readonly #fields: readonly (readonly [Name, FieldType])[]
  readonly byteLength: number

  constructor(fields: Readonly<Record<Name, FieldType>>) {
    this.#fields = Object.entries(fields) as [Name, FieldType][]
    this.byteLength = Math.ceil(this.#fields.length / 4) * 16
  }

  /** `struct Params { … }` */
  get source(): string {
    return `struct Params {\n${this.#fields.map(([name, type]) => `  ${name}: ${type},`).join('\n')}\n}`
  }

  write(buffer: ArrayBuffer, values: Readonly<Record<Name, number>>): void {
    const view = new DataView(buffer)
    this.#fields.forEach(([name, type], index) => {
      if (type === 'f32') view.setFloat32(index * 4, values[name], true)
      else if (type === 'i32') view.setInt32(index * 4, values[name], true)
      else view.setUint32(index * 4, values[name], true)
    })
  }
}
