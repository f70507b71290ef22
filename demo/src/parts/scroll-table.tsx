import type { ComponentChildren } from 'preact'

/**
 * A table that scrolls within itself where it is wider than the page; the keyboard reaches it.
 *
 * @param label what the table shows, for those who hear the page
 * @param columns titles of the columns
 * @param kind a class of the style sheet
 */
export function ScrollTable({
  label,
  columns,
  kind = '',
  children,
}: {
  readonly label: string
  readonly columns: readonly string[]
  readonly kind?: string
  readonly children: ComponentChildren
}) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={label}>
      <table class={kind}>
        <caption class="sr">{label}</caption>
        <thead>
          <tr>
            {columns.map((title) => (
              <th key={title} scope="col">
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  )
}
