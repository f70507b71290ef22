import { serveLane } from '../src/scheduler/serve-lane.ts'

serveLane()
