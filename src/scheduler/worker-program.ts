import program from '../../build/wasm-worker.txt'

/** The file of WASM lanes as text: a chunk of its own, fetched only where the file itself is not found. */
export const workerProgram: string = program
