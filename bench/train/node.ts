import { createRequire } from 'node:module'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import type * as TfjsWasm from '@tensorflow/tfjs-backend-wasm'
import type * as Tfjs from '@tensorflow/tfjs-core'
import * as HeddleNn from 'heddle/nn'
import * as HeddleTrain from 'heddle/train'
import { heddleStep, type StepDetails } from './heddle-step.ts'
import { jaxStep, type JaxModule } from './jax-step.ts'
import { stepProblem, type StepContender, type StepSizes } from './step-problem.ts'
import { tfjsStep } from './tfjs-step.ts'

// One contender in a process of its own, so that memory and failures are its own:
// node.mjs CONTENDER SIZES STEPS FOLDER, where SIZES is JSON and FOLDER holds the installed peers
const [name = '', sizes = '{}', steps = '1', folder = ''] = process.argv.slice(2)

// jax-js expects the browser's name even where there is none, as in Node 20.
if (typeof navigator === 'undefined') Object.defineProperty(globalThis, 'navigator', { value: {} })

type Contender = StepContender & { readonly details?: () => StepDetails }

const { model, problem } = stepProblem(HeddleNn, JSON.parse(sizes) as StepSizes)

const CONTENDERS: Readonly<Record<string, () => Promise<Contender>>> = {
  'heddle, 1 worker': () => ours(1),
  'heddle, 2 workers': () => ours(2),
  'tfjs-wasm': async () => {
    const core = (await import('@tensorflow/tfjs-core')) as typeof Tfjs
    await import(new URL('./tfjs-gradients.mjs', import.meta.url).href)
    const wasm = (await import('@tensorflow/tfjs-backend-wasm')) as typeof TfjsWasm
    return tfjsStep(
      {
        core,
        wasm,
        files: `${path.dirname(createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm/package.json'))}/dist/`,
      },
      problem,
    )
  },
  'jax-js': async () =>
    jaxStep(
      (await import(pathToFileURL(path.join(folder, 'node_modules/@jax-js/jax/dist/index.js')).href)) as JaxModule,
      problem,
    ),
}

async function ours(workers: number): Promise<Contender> {
  return heddleStep({ core: await import('heddle'), train: HeddleTrain }, model, problem, workers)
}

async function measure(): Promise<object> {
  const make = CONTENDERS[name]
  if (make === undefined) throw new Error(`no contender ${name}`)
  const { step, details, close } = await make()
  const [losses, times, seen]: [number[], number[], StepDetails[]] = [[], [], []]
  for (let index = 0; index < Number(steps); index++) {
    const startMs = performance.now()
    losses.push(await step())
    times.push(performance.now() - startMs)
    if (details !== undefined) seen.push(details())
  }
  await close()
  return { losses, times, details: seen, peakBytes: process.resourceUsage().maxRSS * 1024 }
}

const outcome = await measure().catch((error: unknown) => ({
  failure: error instanceof Error ? error.message : String(error),
}))
// The message must be out before the process ends: `exit` alone may cut it off.
process.send?.(outcome, () => process.exit(0))
