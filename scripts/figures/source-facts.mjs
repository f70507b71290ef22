// What a source file is made of, counted as the linter counts: without blank lines and comments.
import { readFileSync } from 'node:fs'
import path from 'node:path'
import ts from 'typescript'

const NOT_CODE = new Set([ts.SyntaxKind.SingleLineCommentTrivia, ts.SyntaxKind.MultiLineCommentTrivia])

/**
 * @returns lines of code, functions with their lines and parameters, the longest line, imports, tests, and the linter's
 *   rules that a comment switches off somewhere in the file
 */
export function sourceFacts(root, file) {
  const text = readFileSync(path.join(root, file), 'utf8')
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true)
  const isCode = codeLines(source, text)
  const facts = { file, lines: isCode.filter(Boolean).length, functions: [], imports: [], tests: 0 }
  facts.exceptions = [...text.matchAll(/eslint-disable(?:-next-line)? ([\w/@-]+(?:, [\w/@-]+)*)/g)].flatMap(
    ([, rules]) => rules.split(', '),
  )
  facts.longestLine = Math.max(0, ...text.split('\n').map((line) => line.length))
  const visit = (node) => {
    if (ts.isFunctionLike(node) && node.body !== undefined) facts.functions.push(functionFacts(source, node, isCode))
    const target = importTarget(node)
    if (target?.startsWith('.')) facts.imports.push(path.posix.join(path.posix.dirname(file), target))
    if (isTest(node)) facts.tests += 1
    ts.forEachChild(node, visit)
  }
  visit(source)
  return facts
}

/** For each line, whether a token is on it. */
function codeLines(source, text) {
  const isCode = new Array(source.getLineStarts().length).fill(false)
  const visit = (node) => {
    if (node.getChildCount(source) === 0) {
      const [start, end] = [node.getStart(source), node.end].map((at) => source.getLineAndCharacterOfPosition(at).line)
      if (!NOT_CODE.has(node.kind) && node.end > node.getStart(source)) isCode.fill(true, start, end + 1)
    } else node.getChildren(source).forEach((child) => ts.isJSDoc(child) || visit(child))
  }
  visit(source)
  return isCode.map((code, line) => code && text.split('\n', line + 1)[line] !== '')
}

function functionFacts(source, node, isCode) {
  const [start, end] = [node.getStart(source), node.end].map((at) => source.getLineAndCharacterOfPosition(at).line)
  return {
    name: node.name?.getText(source) ?? node.parent?.name?.getText?.(source) ?? 'a function',
    line: start + 1,
    lines: isCode.slice(start, end + 1).filter(Boolean).length,
    parameters: node.parameters.filter((each) => each.name.getText(source) !== 'this').length,
  }
}

/** The file that a declaration imports or exports from, types included. */
function importTarget(node) {
  const from = ts.isImportDeclaration(node) || ts.isExportDeclaration(node) ? node.moduleSpecifier : undefined
  return from !== undefined && ts.isStringLiteral(from) ? from.text : undefined
}

/** `it(…)`, `test(…)`, and tables of them, each of which counts once. */
function isTest(node) {
  if (!ts.isCallExpression(node) || !ts.isStringLiteralLike(node.arguments[0] ?? node)) return false
  return /^(it|test)(\.(each|for|skipIf|runIf|concurrent|skip)\b|$)/.test(node.expression.getText())
}
