import { numbersGiven } from '../kernels/rounds.ts'
import { decodeAttention } from './attention.ts'

// node bench-decode.mjs attention [keys] [rounds]
const [keys = 4096, rounds = 60] = numbersGiven()
for (const headSize of [64, 128]) for (const line of await decodeAttention(headSize, keys, rounds)) console.log(line)
process.exit(0)
