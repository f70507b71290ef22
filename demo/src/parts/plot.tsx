import { useEffect, useRef, useState } from 'preact/hooks'
import type { PlotOptions } from '../../../src/plots/frame.ts'

interface PlotProps {
  readonly title: string
  /** makes the SVG, whose texts are escaped, for the room there is */
  readonly draw: (options: PlotOptions) => string
  /** widest drawing, in pixels */
  readonly maxWidth?: number
  readonly children?: preact.ComponentChildren
}

/** A figure that is drawn again for each width, so that its text stays readable on a phone. */
export function Plot({ title, draw, maxWidth = 760, children }: PlotProps) {
  const frame = useRef<HTMLDivElement>(null)
  const [width, setWidth] = useState(0)
  useEffect(() => {
    const element = frame.current
    if (element === null) return undefined
    const observer = new ResizeObserver(() => setWidth(Math.min(maxWidth, Math.floor(element.clientWidth))))
    observer.observe(element)
    return () => observer.disconnect()
  }, [maxWidth])
  return (
    <figure class="figure">
      <figcaption>{title}</figcaption>
      <div class="drawing" ref={frame}>
        <div
          style={{ maxWidth: `${width}px` }}
          dangerouslySetInnerHTML={{ __html: width < 40 ? '' : draw({ width, styled: false }) }}
        />
      </div>
      {children}
    </figure>
  )
}
