import type { TaskArray } from '../../protocol/task.ts'

/**
 * A tensor [B, M, width] between stages. A program names its buffers before they exist, so that a plan can count them; the
 * data come when it runs.
 */
export class RowBuffer {
  readonly kind = 'rows'

  /**
   * @param data [batch, rows, width]
   * @param external whether the caller or a layer brings the data; else the program makes them
   */
  constructor(
    readonly purpose: string,
    readonly batch: number,
    readonly rows: number,
    readonly width: number,
    public data: TaskArray | null = null,
    readonly external: boolean = data !== null,
  ) {}

  get elements(): number {
    return this.batch * this.rows * this.width
  }

  /** Where row `row` of batch `batch` starts. */
  offset(batch: number, row: number): number {
    return (batch * this.rows + row) * this.width
  }
}

/** A tensor [B, H, rows, headSize] between stages: the rows of a head follow each other, as attention reads them. */
export class HeadBuffer {
  readonly kind = 'heads'

  /** @param rows rows that there is room for: a cache has more than are used */
  constructor(
    readonly purpose: string,
    readonly batch: number,
    readonly heads: number,
    readonly rows: number,
    readonly headSize: number,
    public data: Float32Array | null = null,
    readonly external: boolean = data !== null,
  ) {}

  get elements(): number {
    return this.batch * this.heads * this.rows * this.headSize
  }

  get headStride(): number {
    return this.rows * this.headSize
  }

  offset(batch: number, head: number, row: number): number {
    return ((batch * this.heads + head) * this.rows + row) * this.headSize
  }
}

export type StageBuffer = RowBuffer | HeadBuffer

/** The data of a buffer that must be there by now. */
export function dataOf<B extends StageBuffer>(buffer: B): NonNullable<B['data']> {
  if (buffer.data === null) throw new Error(`stage: ${buffer.purpose} was used before it was made`)
  return buffer.data
}
