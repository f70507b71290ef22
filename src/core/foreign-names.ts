/**
 * What options are called in other libraries (PyTorch, Keras, transformers, onnxruntime), in lower case without
 * underscores, with Heddle's name. What follows a colon says where the meaning differs. A name may have several
 * translations: the first that the call takes counts.
 */
const TABLE = `
dmodel embeddim hiddensize = modelDim
numheads nheads nhead numattentionheads = heads
numkeyvalueheads numkvheads = keyValueHeads
enablegqa = keyValueHeads: fewer than heads share keys
dimfeedforward intermediatesize = feedForwardDim
numlayers numhiddenlayers = layers
vocabsize numembeddings = vocabulary
eps layernormeps = epsilon
normfirst = norm: 'pre' or 'post'
dropoutp attentiondropout = dropout
iscausal = causal
keypaddingmask srckeypaddingmask = keyMask: nonzero may be attended, the opposite of key_padding_mask
keypaddingmask srckeypaddingmask = keyLengths: the number of keys that may be attended
attentionmask = keyMask: nonzero may be attended, as there
attnmask srcmask attentionmask = mask: nonzero may attend; boolean masks of PyTorch's layers mean the opposite
needweights outputattentions = returnWeights
averageattnweights = averageWeights
softmaxscale = scale
attnlogitsoftcapping = softcap
slidingwindow windowsize = window: { before, after }
pastkeyvalues kvcache = cache
pastkeyvalues kvcache = caches
lr = learningRate
numthreads threads = workers
`

const ROWS = TABLE.trim()
  .split('\n')
  .map((row) => {
    const [theirs = '', ours = ''] = row.split(' = ')
    const [name = '', meaning] = ours.split(/: (.*)/s)
    return { theirs: theirs.split(' '), name, meaning }
  })

/** What another library's name is called here, with what it means where that differs; undefined for any other name. */
export function foreignName(name: string, names: readonly string[]): string | undefined {
  const plain = name.toLowerCase().replaceAll('_', '')
  const row = ROWS.find((candidate) => candidate.theirs.includes(plain) && names.includes(candidate.name))
  return row && (row.meaning === undefined ? row.name : `${row.name}: ${row.meaning}`)
}
