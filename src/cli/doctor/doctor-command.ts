import { BackendUnavailableError, createRuntime, type Runtime, type RuntimeOptions } from '../../index.ts'
import { EXIT, type Command, type CommandContext } from '../command.ts'
import { describeMachine, type Machine } from '../machine.ts'
import { flag, stringOption } from '../option-values.ts'
import { formatBytes } from '../../plan/explain.ts'
import type { LaneKind } from '../../protocol/messages.ts'
import { formatInteger } from '../terminal/format.ts'
import type { Terminal } from '../terminal/terminal.ts'
import { UsageError } from '../usage-error.ts'
import { checkModel } from './check-model.ts'
import { findGpuVariants, printGpu, type GpuFindings } from './gpu-variants.ts'
import { probeAttention, type Probe } from './probe-attention.ts'

interface DoctorReport {
  readonly format: 'heddle-doctor/1'
  readonly machine: Machine
  readonly availableMemoryBytes: number
  readonly capabilities: Runtime['capabilities'] | undefined
  readonly probes: readonly Probe[]
  /** what `backend: 'auto'` takes here, and why */
  readonly auto: { readonly lanes: readonly LaneKind[]; readonly reason: string } | undefined
  /** where there is an adapter */
  readonly gpu: GpuFindings | undefined
}

export const doctorCommand: Command = {
  name: 'doctor',
  summary: 'what this machine can do, why something is off, and whether results are right',
  options: {
    model: { type: 'string', value: 'FOLDER', summary: 'look at a model of the hub instead: what is read of it' },
    expect: {
      type: 'string',
      value: 'FILE',
      summary: "with --model: compare it with another implementation's numbers (docs/models.md)",
    },
    json: { type: 'boolean', summary: 'print the findings as JSON' },
  },
  run: (context) => {
    const [folder, expected] = [stringOption(context.values, 'model'), stringOption(context.values, 'expect')]
    if (folder !== undefined)
      return checkModel(context.terminal, {
        folder,
        expected,
        json: flag(context.values, 'json'),
        signal: context.signal,
      })
    if (expected !== undefined) throw new UsageError('--expect: expected --model FOLDER with it')
    return examine(context)
  },
}

/** Where the same small attention is computed. A GPU is welcome, but no machine must have one. */
const SETUPS: readonly { readonly name: string; readonly options: RuntimeOptions; readonly optional?: true }[] = [
  { name: 'on the calling thread', options: { workers: 0 } },
  { name: 'on workers', options: {} },
  { name: 'on workers without shared memory', options: { sharedMemory: 'never' } },
  { name: 'with portable numerics', options: { numerics: 'portable' } },
  { name: 'on a GPU', options: { backend: 'webgpu', workers: 1 }, optional: true },
]

async function examine({ terminal, values, signal }: CommandContext): Promise<number> {
  const machine = describeMachine()
  const probes: Probe[] = []
  let capabilities: Runtime['capabilities'] | undefined
  let auto: DoctorReport['auto']
  for (const { name, options, optional } of SETUPS) {
    signal.throwIfAborted()
    try {
      const runtime = await createRuntime(options)
      capabilities = runtime.capabilities
      if (Object.keys(options).length === 0)
        auto = { lanes: runtime.lanes.map(({ kind }) => kind), reason: capabilities.reasons['auto'] ?? '' }
      probes.push(await probeAttention(name, runtime, signal).finally(() => runtime.close()))
    } catch (error) {
      if (!(error instanceof BackendUnavailableError)) throw error
      if (optional === true && capabilities !== undefined)
        capabilities = { ...capabilities, reasons: { ...capabilities.reasons, webgpu: error.message } }
      probes.push({ name, outcome: optional === true ? 'unavailable' : 'failed', detail: error.message })
    }
  }
  const gpu = capabilities?.webgpu.available === true ? await findGpuVariants() : undefined
  const report: DoctorReport = {
    format: 'heddle-doctor/1',
    machine,
    availableMemoryBytes: process.availableMemory(),
    capabilities,
    probes,
    auto,
    gpu,
  }
  print(terminal, report)
  if (flag(values, 'json')) terminal.json(report)
  return probes.every(({ outcome }) => outcome !== 'failed') ? EXIT.ok : EXIT.failedCheck
}

function print(
  terminal: Terminal,
  { machine, capabilities, probes, availableMemoryBytes, auto, gpu }: DoctorReport,
): void {
  const { versions } = machine
  terminal.line(`heddle ${versions.heddle}, Node ${versions.node}, V8 ${versions.v8}`)
  terminal.line(
    `${machine.cpu}, ${machine.cores} cores, ${formatBytes(machine.memoryBytes)} of memory (${formatBytes(availableMemoryBytes)} free), ${machine.platform}`,
  )
  if (capabilities !== undefined) printCapabilities(terminal, capabilities)
  terminal.heading('Attention against a float64 reference')
  for (const { name, outcome, detail } of probes) terminal.line(`  ${mark(terminal, outcome)} ${name}: ${detail}`)
  if (auto !== undefined) {
    terminal.heading("What backend 'auto' takes")
    terminal.line(`  ${countKinds(auto.lanes)}: ${auto.reason}`)
  }
  if (gpu !== undefined) printGpu(terminal, gpu)
}

function countKinds(lanes: readonly LaneKind[]): string {
  const kinds = [...new Set(lanes)].map((kind) => ({ kind, count: lanes.filter((other) => other === kind).length }))
  return kinds.map(({ kind, count }) => `${formatInteger(count)} ${kind} lane${count === 1 ? '' : 's'}`).join(', ')
}

function printCapabilities(terminal: Terminal, capabilities: Runtime['capabilities']): void {
  const { simd, relaxedSimd, threads, workers, webgpu, reasons, cores } = capabilities
  const found: readonly (readonly [string, string, boolean])[] = [
    ['simd', 'WebAssembly SIMD', simd],
    ['relaxedSimd', 'relaxed SIMD', relaxedSimd],
    ['threads', 'memory shared between threads', threads],
    ['workers', `workers, ${formatInteger(cores)} by default`, workers],
    ['webgpu', 'WebGPU', webgpu.available],
  ]
  terminal.heading('Capabilities')
  for (const [key, name, available] of found) {
    const reason = reasons[key]
    terminal.line(
      `  ${available ? terminal.style('green', '✓') : terminal.style('yellow', '–')} ${name}${available || reason === undefined ? '' : `: ${reason}`}`,
    )
  }
}

function mark(terminal: Terminal, outcome: Probe['outcome']): string {
  if (outcome === 'unavailable') return terminal.style('yellow', '–')
  return outcome === 'passed' ? terminal.style('green', '✓') : terminal.style('red', '✗ FAILED')
}
