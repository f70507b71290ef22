import { createBackend } from '../src/scheduler/create-backend.ts'
import { serveLane } from '../src/scheduler/serve-lane.ts'

/** Every kind of lane, with the kernels in the file. */
serveLane(createBackend)
