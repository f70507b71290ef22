import { fleetStatusOf, prometheusText, statusLines } from '../../fleet/index.ts'
import { EXIT, type Command, type CommandContext } from '../command.ts'
import { flag } from '../option-values.ts'
import { REDIS_OPTIONS, redisOptions } from './redis-options.ts'

export const fleetStatusCommand: Command = {
  name: 'fleet-status',
  summary: "a fleet's jobs and hosts, one line per host",
  options: {
    ...REDIS_OPTIONS,
    prometheus: { type: 'boolean', summary: "print Prometheus's text format" },
    json: { type: 'boolean', summary: 'print the status as JSON' },
  },
  run: show,
}

async function show({ values, terminal }: CommandContext): Promise<number> {
  const status = await fleetStatusOf(redisOptions(values))
  if (flag(values, 'json')) terminal.json(status)
  else if (flag(values, 'prometheus')) terminal.out.write(prometheusText(status))
  else for (const line of statusLines(status)) terminal.line(line)
  return EXIT.ok
}
