/** Gives the page a turn: events are heard and frames are drawn before the promise settles. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve)
  })
}
