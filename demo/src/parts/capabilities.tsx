import { host } from '../host.ts'
import { text } from '../text/text.ts'

/** What this tab computes with, and what it does without. */
export function Capabilities() {
  const t = text.value.capabilities
  const state = host.value
  if (state.kind !== 'ready') return null
  const { capabilities, lanes } = state.runtime
  const webgpu = lanes.some(({ kind }) => kind === 'webgpu')
  return (
    <ul class="facts" aria-label={t.label}>
      <li>
        <b>{t.lanes(lanes.length)}</b>
      </li>
      <li class={capabilities.threads ? '' : 'off'}>{capabilities.threads ? t.shared : t.copies}</li>
      <li class={webgpu ? '' : 'off'}>{webgpu ? t.webgpu : t.noWebgpu}</li>
    </ul>
  )
}

/** The page in place of a view where the tab lacks what Heddle needs. */
export function Missing({ what, detail }: { readonly what: readonly ('workers' | 'simd')[]; readonly detail: string }) {
  const t = text.value.missing
  return (
    <section class="missing" role="alert">
      <h1>{t.title}</h1>
      <ul>
        {what.map((each) => (
          <li key={each}>{t[each]}</li>
        ))}
      </ul>
      {detail === '' ? null : <p class="detail">{detail}</p>}
      <p>{t.remedy}</p>
    </section>
  )
}
