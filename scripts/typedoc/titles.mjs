// Names each guide in the reference by its heading, in place of its path.
import { Converter, ReflectionKind } from 'typedoc'

/** @param {import('typedoc').Application} app */
export function load(app) {
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    for (const guide of project.getReflectionsByKind(ReflectionKind.Document)) {
      const [, heading] = /^# (.+)$/m.exec(guide.content.map(({ text }) => text).join('')) ?? []
      if (heading !== undefined) guide.name = heading.replaceAll('`', '')
    }
  })
}
