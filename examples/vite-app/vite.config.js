import { defineConfig } from 'vite'

// No cross-origin isolation headers: without shared memory Heddle transfers copies between threads, and says so in the
// plan.
export default defineConfig({ build: { target: 'es2022' } })
