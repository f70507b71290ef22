import { computed } from '@preact/signals'
import { language, type Language } from '../settings.ts'
import { en, type Text } from './en.ts'
import { ko } from './ko.ts'

const TEXTS: Readonly<Record<Language, Text>> = { en, ko }

/** Each language in itself. */
export const LANGUAGE_NAMES: Readonly<Record<Language, string>> = { en: 'English', ko: '한국어' }

/** The texts in the reader's language. */
export const text = computed(() => TEXTS[language.value])
