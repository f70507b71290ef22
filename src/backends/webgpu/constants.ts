import { GPU_TILE } from '../../plan/gpu-memory.ts'

/** Values of the WebGPU specification's GPUBufferUsage and GPUMapMode: not every host has them as globals. */
export const USAGE = { mapRead: 0x1, copySource: 0x4, copyDestination: 0x8, uniform: 0x40, storage: 0x80 } as const
export const MAP_READ = 1

/** Query rows and keys of one workgroup's score tile: 8 × 8 invocations of 4 × 4 scores each. */
export const TILE = GPU_TILE
