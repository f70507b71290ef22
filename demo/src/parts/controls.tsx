import { useId } from 'preact/hooks'

interface ChoiceProps<T extends string | number> {
  readonly label: string
  readonly value: T
  readonly options: readonly { readonly value: T; readonly label: string }[]
  readonly onChange: (value: T) => void
  readonly disabled?: boolean
}

/** A few choices side by side, as radio buttons. */
export function Choice<T extends string | number>({
  label,
  value,
  options,
  onChange,
  disabled = false,
}: ChoiceProps<T>) {
  const name = useId()
  return (
    <fieldset class="choice" disabled={disabled}>
      <legend>{label}</legend>
      <div>
        {options.map((option) => (
          <label key={option.value}>
            <input type="radio" name={name} checked={option.value === value} onChange={() => onChange(option.value)} />
            <span>{option.label}</span>
          </label>
        ))}
      </div>
    </fieldset>
  )
}

interface SliderProps {
  readonly label: string
  readonly value: number
  readonly min: number
  readonly max: number
  readonly step?: number
  readonly shown?: string
  readonly onChange: (value: number) => void
}

export function Slider({ label, value, min, max, step = 1, shown, onChange }: SliderProps) {
  const id = useId()
  return (
    <div class="slider">
      <label for={id}>{label}</label>
      <output for={id}>{shown ?? value}</output>
      <input
        id={id}
        type="range"
        min={min}
        max={max}
        step={step}
        value={value}
        aria-valuetext={shown}
        onInput={(event) => onChange(Number(event.currentTarget.value))}
      />
    </div>
  )
}

/** A figure and what it is. */
export function Facts({ items }: { readonly items: readonly (readonly [label: string, value: string])[] }) {
  return (
    <dl class="numbers">
      {items.map(([label, value]) => (
        <div key={label}>
          <dt>{label}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  )
}

/** Two amounts as bars of one scale, however far apart. */
export function Compare({
  items,
}: {
  readonly items: readonly {
    readonly label: string
    readonly shown: string
    readonly amount: number
    readonly isOurs?: boolean
  }[]
}) {
  const most = Math.max(...items.map(({ amount }) => amount))
  return (
    <dl class="compare">
      {items.map(({ label, shown, amount, isOurs = false }) => (
        <div key={label} class={isOurs ? 'ours' : ''}>
          <dt>{label}</dt>
          <dd>{shown}</dd>
          <span class="track" aria-hidden="true">
            <span style={{ width: `max(3px, ${(amount / most) * 100}%)` }} />
          </span>
        </div>
      ))}
    </dl>
  )
}

/** What went wrong, in the library's words. */
export function Failure({ title, error }: { readonly title: string; readonly error: unknown }) {
  return (
    <div class="failure" role="alert">
      <b>{title}</b>
      <p>{error instanceof Error ? error.message : String(error)}</p>
    </div>
  )
}
