import { version } from '../core/version.ts'
import { analyzeCommand } from './analyze/analyze-command.ts'
import { benchCommand } from './bench/bench-command.ts'
import { EXIT } from './command.ts'
import { dispatch } from './dispatch.ts'
import { doctorCommand } from './doctor/doctor-command.ts'
import { fleetStatusCommand } from './fleet/fleet-status-command.ts'
import { fleetWorkerCommand } from './fleet/fleet-worker-command.ts'
import { runCommand } from './run/run-command.ts'
import { Terminal } from './terminal/terminal.ts'
import { tourCommand } from './tour/tour-command.ts'
import { trainCommand } from './train/train-command.ts'
import { validateCommand } from './validate/validate-command.ts'

const interruption = new AbortController()
process.on('SIGINT', () => {
  // The first asks; a second one, while a command still winds down, does not wait.
  if (interruption.signal.aborted) process.exit(EXIT.interrupted)
  interruption.abort(new Error('interrupted'))
})
// A reader that has seen enough (`heddle … | head`) closes the pipe: that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit(EXIT.ok)
})

process.exitCode = await dispatch(process.argv.slice(2), {
  commands: [
    runCommand,
    trainCommand,
    analyzeCommand,
    benchCommand,
    validateCommand,
    tourCommand,
    doctorCommand,
    fleetWorkerCommand,
    fleetStatusCommand,
  ],
  version,
  terminal: new Terminal(process.stdout, process.stderr, process.env),
  signal: interruption.signal,
})
