import { defineConfig } from 'vite'

// A relative base, so that the page works in any folder of a host; files of the model stay files.
export default defineConfig({ base: './', build: { target: 'es2022', assetsInlineLimit: 0 } })
