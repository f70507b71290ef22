/** A column of a table: its head, and on which side its cells stand. */
export interface Column {
  readonly head: string
  readonly align?: 'left' | 'right'
}

/** Rows of text in columns as wide as their widest cell, under a head and a rule. */
export function formatTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string[] {
  const widths = columns.map((column, index) =>
    Math.max(column.head.length, ...rows.map((row) => (row[index] ?? '').length)),
  )
  const format = (cells: readonly string[]): string =>
    columns
      .map(({ align = 'right' }, index) => {
        const width = widths[index] ?? 0
        const cell = cells[index] ?? ''
        return align === 'left' ? cell.padEnd(width) : cell.padStart(width)
      })
      .join('  ')
      .trimEnd()
  return [
    format(columns.map((column) => column.head)),
    widths.map((width) => '─'.repeat(width)).join('──'),
    ...rows.map(format),
  ]
}
