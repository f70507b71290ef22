import { numbersGiven } from '../kernels/rounds.ts'
import { decodeAttention } from './attention.ts'
import { decodeTokens } from './tokens.ts'

// node bench-decode.mjs attention [keys] [rounds] | tokens [prompt] [new]
const [name = 'attention'] = process.argv.slice(2)
if (name === 'tokens') {
  const [prompt = 128, count = 32] = numbersGiven()
  console.log(await decodeTokens(prompt, count))
} else {
  const [keys = 4096, rounds = 60] = numbersGiven()
  for (const headSize of [64, 128]) for (const line of await decodeAttention(headSize, keys, rounds)) console.log(line)
}
process.exit(0)
