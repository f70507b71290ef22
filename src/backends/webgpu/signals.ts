/**
 * Rejections that are no failures of the call: whoever runs the backend answers them, users never see them.
 * Both cross threads by name.
 */

/**
 * An input holds NaN, an infinity or values whose products overflow: WGSL may assume there are none, so wasm computes
 * the task.
 */
export class NonFiniteInput extends Error {
  constructor(what: string) {
    super(`webgpu: ${what} holds NaN, an infinity or values out of range; wasm computes this task`)
    this.name = 'NonFiniteInput'
  }
}

/** The device is gone; the backend is of no more use. Nothing of the task was written. */
export class DeviceLost extends Error {
  readonly reason: string

  constructor(reason: string, cause?: unknown) {
    super(`webgpu: the device was lost (${reason})`, cause === undefined ? undefined : { cause })
    this.name = 'DeviceLost'
    this.reason = reason
  }
}
