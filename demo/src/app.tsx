import { useEffect, useRef } from 'preact/hooks'
import { BenchView } from './bench/bench-view.tsx'
import { BookView } from './book/book-view.tsx'
import { HeadsView } from './heads/heads-view.tsx'
import { host } from './host.ts'
import { Capabilities, Missing } from './parts/capabilities.tsx'
import { Header } from './parts/header.tsx'
import { PositionsView } from './positions/positions-view.tsx'
import { route, type View } from './route.ts'
import { text } from './text/text.ts'
import { TrainView } from './train/train-view.tsx'

const PAGES: Readonly<Record<View, () => preact.JSX.Element>> = {
  book: BookView,
  train: TrainView,
  heads: HeadsView,
  positions: PositionsView,
  bench: BenchView,
}

export function App() {
  const { view } = route.value
  const main = useRef<HTMLElement>(null)
  const isFirst = useRef(true)
  useEffect(() => {
    document.title = `${text.value.views[view]} · Heddle`
    // A reader of the screen hears of the new view; the first one is announced with the page.
    if (!isFirst.current) main.current?.focus()
    isFirst.current = false
  }, [view])
  const Page = PAGES[view]
  const state = host.value
  return (
    <>
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault()
          main.current?.focus()
        }}
      >
        {text.value.skip}
      </a>
      <Header />
      <main id="main" tabIndex={-1} ref={main}>
        {state.kind === 'missing' ? <Missing what={state.what} detail={state.detail} /> : <Page />}
      </main>
      <footer>
        <Capabilities />
        <p>{text.value.footer}</p>
      </footer>
    </>
  )
}
