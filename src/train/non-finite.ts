import type { Runtime } from '../attention/runtime.ts'
import { NumericError } from '../core/errors.ts'
import type { AnyModule } from '../nn/module.ts'
import type { NormEvent } from '../nn/norm-monitor.ts'
import type { Batch } from './batch.ts'

/** A model whose forward pass can be watched, as those of `heddle/nn` can. */
interface Watchable {
  forward(
    input: unknown,
    options: { readonly runtime?: Runtime; readonly monitorNorms: (event: NormEvent) => void },
  ): Promise<unknown>
}

interface NonFiniteLoss {
  readonly loss: number
  readonly model: AnyModule
  /** whose loss it is */
  readonly batch: Batch
  readonly runtime: Runtime | undefined
}

/**
 * The error of a loss that is NaN or infinite. It names the first parameter that is not finite; or, where all are, the
 * first layer whose output is not, found by one more forward pass.
 */
export async function nonFiniteLoss(
  step: number,
  { loss, model, batch, runtime }: NonFiniteLoss,
): Promise<NumericError> {
  const where = nonFiniteParameter(model) ??
    (await nonFiniteLayer(model, batch, runtime)) ?? {
      text: 'all parameters and the outputs that could be watched are finite',
    }
  return new NumericError(`train: step ${step}: expected a finite loss, got ${loss}; ${where.text}`, {
    details: { step, ...where },
  })
}

interface Place {
  readonly text: string
  readonly layer?: string
}

function nonFiniteParameter(model: AnyModule): Place | undefined {
  for (const [name, { data }] of model.namedParameters()) {
    const element = data.findIndex((value) => !Number.isFinite(value))
    if (element >= 0)
      return {
        text: `the first parameter that is not finite is ${name} (${data[element]} at element ${element})`,
        layer: name.slice(0, Math.max(0, name.lastIndexOf('.'))),
      }
  }
  return undefined
}

async function nonFiniteLayer(
  model: AnyModule,
  batch: Batch,
  runtime: Runtime | undefined,
): Promise<Place | undefined> {
  if (!('forward' in model) || typeof model.forward !== 'function') return undefined
  let first: string | undefined
  const monitorNorms = ({ layer, nonFinite }: NormEvent): void => {
    if (nonFinite > 0) first ??= layer
  }
  try {
    await (model as unknown as Watchable).forward(batch.tokens ?? batch.input, {
      ...(runtime === undefined ? {} : { runtime }),
      monitorNorms,
    })
  } catch {
    // The loss is what the caller hears of; this was only to say more about it.
    return undefined
  }
  return first === undefined
    ? undefined
    : { text: `the first layer whose output is not finite is ${first}`, layer: first }
}
