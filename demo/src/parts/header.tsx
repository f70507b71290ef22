import { language, LANGUAGES, theme, THEMES } from '../settings.ts'
import { route, VIEWS } from '../route.ts'
import { LANGUAGE_NAMES, text } from '../text/text.ts'

/** The mark: warp threads, one of them through the eye of a heddle, and the weft that crosses them. */
function Mark() {
  return (
    <svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
      <path d="M6 3v26M16 3v9M16 20v9M26 3v26" />
      <ellipse cx="16" cy="16" rx="3" ry="4" />
      <path class="weft" d="M1 16h2.500M8.500 16h4.500M19 16h4.500M28.500 16h2.500" />
    </svg>
  )
}

export function Header() {
  const t = text.value
  return (
    <header>
      <a class="brand" href="#/book">
        <Mark />
        Heddle
      </a>
      <nav aria-label={t.navigation}>
        {VIEWS.map((view) => (
          <a key={view} href={`#/${view}`} aria-current={route.value.view === view ? 'page' : undefined}>
            {t.views[view]}
          </a>
        ))}
      </nav>
      <Choices />
    </header>
  )
}

/** Language and colours. */
function Choices() {
  const t = text.value
  return (
    <div class="choices">
      <button
        type="button"
        class="quiet"
        lang={language.value === 'en' ? 'ko' : 'en'}
        onClick={() => {
          language.value = LANGUAGES[(LANGUAGES.indexOf(language.value) + 1) % LANGUAGES.length] ?? 'en'
        }}
      >
        {LANGUAGE_NAMES[language.value === 'en' ? 'ko' : 'en']}
      </button>
      <button
        type="button"
        class="quiet"
        onClick={() => {
          theme.value = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length] ?? 'auto'
        }}
      >
        <span class="sr">{t.theme} </span>
        <span aria-hidden="true">◐ </span>
        {t.themes[theme.value]}
      </button>
    </div>
  )
}
