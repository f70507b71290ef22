import { createRuntime } from 'heddle'
import { expect, test } from 'vitest'
import { skipReason, testGpu } from './support/software-gpu.ts'

const found = await testGpu()

test.skipIf(skipReason(found) !== undefined)(
  'a GPU lane that is closed while it opens its device is waited for: the process goes on',
  async () => {
    // A worker that ends inside the package's initialisation takes Node down; without the wait that shows in the first
    // run or the second.
    for (let run = 0; run < 5; run++) {
      const runtime = await createRuntime({ backend: { webgpu: 1, wasm: 1 } })
      await runtime.close()
      await expect(runtime.attention({} as never)).rejects.toMatchObject({ code: 'RuntimeClosedError' })
    }
  },
  60_000,
)
