// What the shipped declarations need of the host, by its shape alone. Each name stands for the host's own type of that
// name, so that the declarations compile without the DOM library, @types/node or @webgpu/types. The host's types fit
// these; tests/types checks it.

/** An AbortSignal of the host, or a polyfill's. */
export interface AbortSignal {
  readonly aborted: boolean
  readonly reason?: any
  addEventListener(type: 'abort', listener: () => void): void
  removeEventListener(type: 'abort', listener: () => void): void
}

/** A URL object. */
export interface URL {
  readonly href: string
  toString(): string
}

/** A Blob, or a File. */
export interface Blob {
  readonly size: number
  readonly type: string
  arrayBuffer(): Promise<ArrayBuffer>
  slice(start?: number, end?: number): Blob
}

/** A File of a file input. */
export interface File extends Blob {
  readonly name: string
  readonly webkitRelativePath?: string
}

/** The files of a file input. */
export interface FileList {
  readonly length: number
  readonly [index: number]: File
}

/** A stream of a response's or file's bytes. */
export interface ReadableStream<Chunk> {
  readonly locked: boolean
  getReader(): {
    read(): Promise<{ done: false; value: Chunk } | { done: true; value?: Chunk | undefined }>
    cancel(reason?: any): Promise<void>
    releaseLock(): void
  }
  cancel(reason?: any): Promise<void>
}

/** A web Worker. */
export interface Worker {
  postMessage(message: any, transfer?: any): void
  addEventListener(type: string, listener: (event: any) => void, options?: any): void
  removeEventListener(type: string, listener: (event: any) => void, options?: any): void
  terminate(): void
}

export namespace WebAssembly {
  /** A compiled module: an object that TypeScript knows no members of. */
  type Module = object
}
