import { render } from 'preact'
import { PLOT_RULES } from '../../src/plots/frame.ts'
import { pageColourRules } from '../../src/plots/palette.ts'
import { App } from './app.tsx'
import { startHost } from './host.ts'
import './style/base.css'
import './style/parts.css'
import './style/views.css'

// A sheet made by script is no inline style: the content security policy lets it pass.
const plots = new CSSStyleSheet()
plots.replaceSync(`${pageColourRules()}\n${PLOT_RULES}\n.plot .surface{fill:none}.plot .title{display:none}`)
document.adoptedStyleSheets = [...document.adoptedStyleSheets, plots]

const root = document.getElementById('app')
if (root !== null) render(<App />, root)
void startHost()
