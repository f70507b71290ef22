import { effect, signal } from '@preact/signals'

export const LANGUAGES = ['en', 'ko'] as const
export type Language = (typeof LANGUAGES)[number]

export const THEMES = ['auto', 'light', 'dark'] as const
export type Theme = (typeof THEMES)[number]

/** The reader's language: chosen earlier, else the browser's. */
export const language = signal<Language>(
  stored('heddle-language', LANGUAGES) ?? (navigator.language.startsWith('ko') ? 'ko' : 'en'),
)
export const theme = signal<Theme>(stored('heddle-theme', THEMES) ?? 'auto')

effect(() => {
  document.documentElement.lang = language.value
  store('heddle-language', language.value)
})
effect(() => {
  document.documentElement.dataset.theme = theme.value
  store('heddle-theme', theme.value)
})

/** Storage may be refused, in a frame or by the reader's settings; the choice then lasts as long as the page. */
function stored<T extends string>(key: string, allowed: readonly T[]): T | undefined {
  try {
    const value = localStorage.getItem(key)
    return allowed.find((each) => each === value)
  } catch {
    return undefined
  }
}

function store(key: string, value: string): void {
  try {
    localStorage.setItem(key, value)
  } catch {
    // See `stored`.
  }
}
