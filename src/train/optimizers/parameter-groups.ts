import { checkFunction, checkNames, expected } from '../../core/check.ts'
import { OptionError } from '../../core/errors.ts'
import { describe } from '../../core/tensor.ts'
import { Module, type AnyModule } from '../../nn/module.ts'
import { Parameter } from '../../program/parameter.ts'

/** What an optimizer learns: all parameters of a module, or these. */
export type Trainable = AnyModule | ReadonlyMap<string, Parameter>

/** Hyperparameters for some parameters; what it leaves out is as for all others. */
export type ParameterGroup<Hyperparameters> = Partial<Hyperparameters> & {
  /** Whether this group has the parameter. A parameter belongs to the first group that has it. */
  readonly match: (name: string, parameter: Parameter) => boolean
}

/** A group with everything filled in. */
export interface ResolvedGroup<Hyperparameters> {
  /** the options, with the group's own in their place */
  readonly hyperparameters: Hyperparameters
  /** the parameters' names, in the order of the model */
  readonly names: readonly string[]
}

/** Checks complete hyperparameters. @param named the name of one in messages @throws {OptionError} */
export type HyperparameterCheck<Hyperparameters> = (
  named: (name: string) => string,
  hyperparameters: Hyperparameters,
) => void

/** Each parameter once, under its first name. @throws {OptionError} when there is none */
export function distinctParameters(what: string, trainable: Trainable): Map<string, Parameter> {
  const named: unknown = trainable instanceof Module ? trainable.namedParameters() : trainable
  if (!(named instanceof Map)) throw expected(what, 'a Module or a Map of parameters by name', trainable)
  const distinct = new Map<string, Parameter>()
  const seen = new Set<unknown>()
  for (const [name, parameter] of named as Map<unknown, unknown>) {
    if (typeof name !== 'string' || !(parameter instanceof Parameter))
      throw new OptionError(
        `${what}: expected a Map from names to Parameters, got ${describe(parameter)} under ${describe(name)}`,
      )
    if (!seen.has(parameter)) distinct.set(name, parameter)
    seen.add(parameter)
  }
  if (distinct.size === 0) throw new OptionError(`${what}: expected at least one parameter, got none`)
  return distinct
}

/**
 * The groups in the order given, and a last one for the parameters that none of them has.
 *
 * @param base hyperparameters of that last group, and of the others where they do not say otherwise
 * @throws {OptionError} for unknown names and wrong values
 */
export function resolveGroups<H extends object>(
  what: string,
  parameters: ReadonlyMap<string, Parameter>,
  {
    base,
    groups,
    check,
  }: {
    readonly base: H
    readonly groups: readonly ParameterGroup<H>[] | undefined
    readonly check: HyperparameterCheck<H>
  },
): ResolvedGroup<H>[] {
  check((name) => `${what}: option ${name}`, base)
  if (groups !== undefined && !Array.isArray(groups)) throw expected(`${what}: option groups`, 'an array', groups)
  const given = (groups ?? []).map((group: ParameterGroup<H>, index) => {
    const where = `${what}: option groups[${index}]`
    group = checkNames(where, group, ['match', ...Object.keys(base)])
    const { match, ...own } = group
    checkFunction(`${where}.match`, match)
    const present = Object.fromEntries(Object.entries(own).filter(([, value]) => value !== undefined))
    const hyperparameters = { ...base, ...present }
    check((name) => `${where}.${name}`, hyperparameters)
    return { match, hyperparameters, names: [] as string[] }
  })
  const rest = { hyperparameters: base, names: [] as string[] }
  for (const [name, parameter] of parameters)
    (given.find(({ match }) => match(name, parameter)) ?? rest).names.push(name)
  return [...given, rest].map(({ hyperparameters, names }) => ({
    hyperparameters: Object.freeze({ ...hyperparameters }),
    names,
  }))
}
