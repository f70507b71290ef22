import { BackendUnavailableError } from '../src/core/errors.ts'
import { createWasmLane } from '../src/scheduler/create-wasm-lane.ts'
import { serveLane } from '../src/scheduler/serve-lane.ts'

/** WASM lanes alone, with the kernels that the runtime sends: what most pages need, and a third of the bytes. */
serveLane((config, sent) =>
  createWasmLane(config, sent, (set, variant) =>
    Promise.reject(
      new BackendUnavailableError(`worker: expected the runtime to send kernels (${set}, ${variant}), got none`),
    ),
  ),
)
