import { createBackend } from './create-backend.ts'
import { LaneHost } from './lane-host.ts'

/** What a lane on the calling thread runs: a module of its own, so that it is fetched in one piece. */
export function makeLocalHost(): LaneHost {
  return new LaneHost(createBackend, false)
}
