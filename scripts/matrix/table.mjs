import { readFile, writeFile } from 'node:fs/promises'
import { GROUPS } from './cases.mjs'

const BEGIN = '<!-- matrix: written by npm run matrix -->'
const END = '<!-- end of the matrix -->'

/** Puts the results into the document, between its marks; rows of cases that were not run now stay as they are. */
export async function writeTable(file, results) {
  const text = await readFile(file, 'utf8')
  const [start, end] = [text.indexOf(BEGIN), text.indexOf(END)]
  if (start < 0 || end < start) throw new Error(`expected the marks of the matrix in ${file}`)
  const before = rowsByName(text.slice(start, end))
  const tables = Object.entries(GROUPS).map(([title, cases]) => {
    const rows = cases.map((each) => {
      const result = results.get(each.name)
      return result === undefined
        ? (before.get(each.name) ?? row(each, 'not tried: the run has not come to it'))
        : row(each, words(result))
    })
    return [`### ${title}`, '', '| where | what to do | result |', '| --- | --- | --- |', ...rows].join('\n')
  })
  await writeFile(file, `${text.slice(0, start)}${BEGIN}\n\n${tables.join('\n\n')}\n\n${text.slice(end)}`)
}

function row({ name, how }, result) {
  return `| ${name} | ${how} | ${result} |`
}

function words({ state, text }) {
  return state === 'works' ? text : `**${state}**: ${text.split('\n')[0].replaceAll('|', '\\|')}`
}

function rowsByName(text) {
  const rows = text.split('\n').filter((line) => line.startsWith('| '))
  return new Map(rows.map((line) => [line.slice(2, line.indexOf(' |')), line]))
}
