import { existsSync, readFileSync } from 'node:fs'
import { expect, it } from 'vitest'

const read = (name: string): string => readFileSync(new URL(`../../docs/${name}`, import.meta.url), 'utf8')

/** The code blocks without their comments, which are translated. */
function codeOf(text: string): string[] {
  return [...text.matchAll(/^```js\n([\s\S]*?)^```$/gm)].map((match) => (match[1] ?? '').replaceAll(/\s*\/\/.*$/gm, ''))
}

/** Anchors as a heading makes them: lower case, spaces as dashes, punctuation gone. */
function anchorsOf(text: string): string[] {
  return [...text.matchAll(/^## (.+)$/gm)].map((match) =>
    (match[1] ?? '')
      .toLowerCase()
      .replaceAll(/[^\p{Letter}\p{Number} -]/gu, '')
      .replaceAll(' ', '-'),
  )
}

it('the Korean course has the same code as the English one', () => {
  const [english, korean] = [codeOf(read('step-by-step-learning.md')), codeOf(read('step-by-step-learning.ko.md'))]
  expect(english).toHaveLength(13)
  expect(korean).toEqual(english)
})

it.each(['step-by-step-learning.md', 'step-by-step-learning.ko.md'])(
  '%s links to parts and files that exist',
  (name) => {
    const text = read(name)
    const anchors = anchorsOf(text)
    const links = [...text.matchAll(/\]\(([^)]+)\)/g)].map((match) => match[1] ?? '')
    expect(links.length).toBeGreaterThan(13)
    for (const link of links) {
      if (link.startsWith('#')) expect(anchors, link).toContain(link.slice(1))
      else expect(existsSync(new URL(`../../docs/${link}`, import.meta.url)), link).toBe(true)
    }
  },
)
