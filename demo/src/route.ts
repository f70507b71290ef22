import { signal } from '@preact/signals'

export const VIEWS = ['book', 'train', 'heads', 'positions', 'bench'] as const
export type View = (typeof VIEWS)[number]

/** The view that the address names, as `#/book`, and what stands behind it, as in `#/bench/RESULT`. */
export const route = signal(read())

addEventListener('hashchange', () => {
  route.value = read()
})

function read(): { readonly view: View; readonly rest: string } {
  const [name = '', ...rest] = location.hash.replace(/^#\/?/, '').split('/')
  return { view: VIEWS.find((view) => view === name) ?? 'book', rest: rest.join('/') }
}
