import { createServer, type Server } from 'node:http'
import { mkdir, mkdtemp, readdir, rm, symlink } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { folderStore, httpStore, type FleetStore } from 'heddle/fleet'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freePort } from './support/redis-server.ts'

const bytes = Uint8Array.from({ length: 1000 }, (_, index) => index % 251)

/** What the HTTP server may be told to do wrong. */
interface Faults {
  ranges?: boolean
  tags?: boolean
  status?: number
  short?: boolean
}

let folder: string
let server: Server
let address: string
let faults: Faults = {}
const files = new Map<string, Buffer>()
const seen: string[] = []

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'heddle-store-'))
  server = createServer((request, response) => {
    const name = decodeURIComponent((request.url ?? '').replace('/base/', ''))
    seen.push(`${request.method} ${request.url} ${request.headers.authorization ?? ''}`)
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const file = files.get(name)
      const tag = faults.tags === false ? {} : { etag: `"${file?.length}"` }
      const range = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '')
      if (faults.status !== undefined) return response.writeHead(faults.status).end()
      if (request.method === 'PUT') files.set(name, Buffer.concat(chunks))
      else if (request.method === 'DELETE') files.delete(name)
      else if (file === undefined) return response.writeHead(404).end()
      else if (request.method === 'HEAD')
        return response.writeHead(200, { ...tag, 'content-length': file.length }).end()
      else if (range === null || faults.ranges === false) return response.writeHead(200, tag).end(file)
      else
        return response
          .writeHead(206, tag)
          .end(file.subarray(Number(range[1]), faults.short === true ? Number(range[1]) + 1 : Number(range[2]) + 1))
      return response.writeHead(204).end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/base`
})

afterAll(async () => {
  await new Promise((resolve) => server.close(resolve))
  await rm(folder, { recursive: true, force: true })
})

const stores: Record<string, () => FleetStore> = {
  'a folder': () => folderStore(folder),
  HTTP: () => httpStore(address, { headers: { authorization: 'Bearer some' } }),
}

describe.each(Object.keys(stores))('%s', (name) => {
  const store = (): FleetStore => stores[name]!()

  test('writes, looks, reads ranges, removes', async () => {
    await store().write('deep/er/a_file.bin', bytes)
    const found = await store().stat('deep/er/a_file.bin')
    expect(found?.bytes).toBe(1000)
    expect(await store().read('deep/er/a_file.bin', 10, 20)).toEqual(bytes.slice(10, 20))
    expect(await store().read('deep/er/a_file.bin', 0, 1000)).toEqual(bytes)
    expect(await store().read('deep/er/a_file.bin', 5, 5)).toHaveLength(0)
    await store().write('deep/er/a_file.bin', bytes.subarray(0, 7))
    expect((await store().stat('deep/er/a_file.bin'))?.tag).not.toBe(found?.tag)
    await store().remove('deep/er/a_file.bin')
    await store().remove('deep/er/a_file.bin')
    expect(await store().stat('deep/er/a_file.bin')).toBeUndefined()
  })

  test('missing files and ranges past the end', async () => {
    await store().write('short.bin', bytes)
    await expect(store().read('short.bin', 990, 1001)).rejects.toMatchObject({ code: 'StoreError' })
    await expect(store().read('none.bin', 0, 1)).rejects.toMatchObject({ code: 'StoreError' })
    expect(await store().stat('none/at/all.bin')).toBeUndefined()
  })

  test.each([
    '../up',
    '/absolute',
    'a/../b',
    './a',
    'a//b',
    'C:\\x',
    'a\\b',
    '.hidden',
    'a/.git/b',
    '~root',
    'a\0b',
    '',
    'a/',
    'http://x/y',
    'a?b',
    'a%2e',
    'too long',
  ])('no path: %j', async (name) => {
    const file = name === 'too long' ? 'x'.repeat(1025) : name
    for (const call of [
      store().stat(file),
      store().read(file, 0, 1),
      store().write(file, bytes),
      store().remove(file),
    ]) {
      await expect(call).rejects.toMatchObject({ code: 'OptionError' })
    }
  })

  test('an abort ends a read', async () => {
    await store().write('long.bin', bytes)
    await expect(store().read('long.bin', 0, 1000, AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough')
  })
})

describe('a folder', () => {
  test('leaves nothing half-written behind', async () => {
    const own = path.join(folder, 'own')
    await mkdir(own)
    await folderStore(own).write('file.bin', bytes)
    // A folder in the file's place: the rename fails, after the bytes were written beside it.
    await mkdir(path.join(own, 'taken', 'inner'), { recursive: true })
    await expect(folderStore(own).write('taken', bytes)).rejects.toMatchObject({
      code: 'StoreError',
      cause: expect.any(Error),
    })
    expect((await readdir(own)).sort()).toEqual(['file.bin', 'taken'])
  })

  test('makes no folders behind a link that leads out', async () => {
    const [inside, outside] = [path.join(folder, 'inside'), path.join(folder, 'outside')]
    await Promise.all([mkdir(inside), mkdir(outside)])
    await symlink(outside, path.join(inside, 'link'))
    await expect(folderStore(inside).write('link/new/file.bin', bytes)).rejects.toThrow(/leads out/)
    expect(await readdir(outside)).toEqual([])
  })
})

describe('HTTP', () => {
  const withFaults = async (wrong: Faults, run: () => Promise<unknown>): Promise<void> => {
    faults = wrong
    await run().finally(() => (faults = {}))
  }

  test('sends its headers, below its address', async () => {
    seen.length = 0
    await stores['HTTP']!().stat('some/file.bin')
    expect(seen).toEqual(['HEAD /base/some/file.bin Bearer some'])
  })

  test('servers that cannot do it', async () => {
    const store = stores['HTTP']!()
    await store.write('file.bin', bytes)
    await withFaults({ ranges: false }, () =>
      expect(store.read('file.bin', 0, 5)).rejects.toThrow(/does not support range requests/),
    )
    await withFaults({ short: true }, () => expect(store.read('file.bin', 0, 5)).rejects.toThrow(/expected 5 bytes/))
    await withFaults({ tags: false }, () => expect(store.stat('file.bin')).rejects.toThrow(/ETag/))
    await withFaults({ status: 507 }, () =>
      expect(store.write('file.bin', bytes)).rejects.toThrow(/507 \(no storage left\)/),
    )
    await withFaults({ status: 401 }, () =>
      expect(store.remove('file.bin')).rejects.toMatchObject({ code: 'StoreError', details: { status: 401 } }),
    )
    await withFaults({ status: 302 }, () =>
      expect(store.stat('file.bin')).rejects.toMatchObject({ code: 'StoreError' }),
    )
    await expect(httpStore(`http://127.0.0.1:${await freePort()}/`).stat('file.bin')).rejects.toMatchObject({
      code: 'StoreError',
      message: expect.stringContaining('ECONNREFUSED'),
    })
    expect(() => httpStore('ftp://somewhere/')).toThrow(/http or https/)
  })
})
