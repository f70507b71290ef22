/** A stream that a command writes to; process.stdout, or a test's own. */
export interface OutputStream {
  write(text: string): unknown
  readonly isTTY?: boolean
  readonly columns?: number
}

type Style = 'bold' | 'dim' | 'green' | 'red' | 'yellow' | 'cyan'

const CODES: Readonly<Record<Style, readonly [number, number]>> = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  cyan: [36, 39],
}

/** Control characters, tabs and line ends aside; an escape with the number of its style. */
const CONTROLS = /\u001b(?:\[\d+m)?|[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g
const OWN_STYLES: ReadonlySet<string> = new Set(
  Object.values(CODES)
    .flat()
    .map((code) => `\u001b[${code}m`),
)

/** What a command says: results on `out`, everything about their making on `err`. */
export class Terminal {
  readonly #color: boolean

  constructor(
    readonly out: OutputStream,
    readonly err: OutputStream,
    environment: Readonly<Record<string, string | undefined>> = {},
    /** with `--json` nothing but JSON goes to `out`: text for people goes to `err` */
    readonly quiet = false,
  ) {
    this.#color =
      !quiet &&
      environment['NO_COLOR'] === undefined &&
      (out.isTTY === true || environment['FORCE_COLOR'] !== undefined)
  }

  /** The same streams, for a command whose `out` is JSON. */
  forJson(): Terminal {
    return new Terminal(this.out, this.err, {}, true)
  }

  /** A line of the result. */
  line(text = ''): void {
    ;(this.quiet ? this.err : this.out).write(`${this.#printable(text)}\n`)
  }

  /** The result of a command that was asked for JSON. */
  json(value: unknown): void {
    this.out.write(`${JSON.stringify(value, null, 2).replace(/[\u007f-\u009f]/g, escaped)}\n`)
  }

  /** A line about the run itself. */
  note(text: string): void {
    this.err.write(`${this.#printable(text)}\n`)
  }

  /** `text` in a style where the terminal shows one. */
  style(style: Style, text: string): string {
    const [on, off] = CODES[style]
    return this.#color ? `\u001b[${on}m${text}\u001b[${off}m` : text
  }

  heading(text: string): void {
    this.line()
    this.line(this.style('bold', text))
  }

  /** The text without what commands a terminal, such as the escapes in a file's name; our own colours stay. */
  #printable(text: string): string {
    return text.replace(CONTROLS, (found) => (this.#color && OWN_STYLES.has(found) ? found : escaped(found)))
  }
}

function escaped(found: string): string {
  return [...found]
    .map((character) =>
      character < ' ' || character > '~' ? `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}` : character,
    )
    .join('')
}
