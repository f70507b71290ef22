import { percent } from './role-text.ts'

interface TokenBarsProps {
  readonly labels: readonly string[]
  /** a share per token; NaN where the mask hides it */
  readonly values: readonly number[]
  /** the token that attends */
  readonly at: number
  /** Tokens are buttons where another one can be chosen. */
  readonly onPoint?: (index: number) => void
}

/** More tokens than this take several lines, which are then lower. */
const FEW = 20

/** A sequence of tokens with a bar for the share of each. */
export function TokenBars({ labels, values, at, onPoint }: TokenBarsProps) {
  return (
    <ol class={labels.length > FEW ? 'tokens many' : 'tokens'}>
      {labels.map((label, index) => {
        const value = values[index] ?? NaN
        return (
          <li key={index}>
            {onPoint === undefined ? (
              <span class={index === at ? 'token self' : 'token'}>{label}</span>
            ) : (
              <button
                type="button"
                class="token"
                aria-pressed={index === at}
                onMouseEnter={() => onPoint(index)}
                onFocus={() => onPoint(index)}
                onClick={() => onPoint(index)}
              >
                {label}
              </button>
            )}
            <span class="bar" aria-hidden="true">
              <span style={{ height: `${Number.isNaN(value) ? 0 : value * 100}%` }} />
            </span>
            <span class="percent">{Number.isNaN(value) ? '' : percent(value)}</span>
          </li>
        )
      })}
    </ol>
  )
}
