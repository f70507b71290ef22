/**
 * What options are called in other libraries (PyTorch, Keras, transformers, onnxruntime), in lower case without
 * underscores, with Heddle's name. What follows a colon says where the meaning differs. A name may have several
 * translations: the first that the call takes counts.
 */
const TABLE = `
dmodel embeddim embedsize hiddensize nembd modeldim dim = modelDim
numheads nheads nhead nhead numattentionheads = heads
numkeyvalueheads numkvheads kvheads nkvheads kvnumheads = keyValueHeads
enablegqa = keyValueHeads: fewer than heads share keys
dimfeedforward intermediatesize dff ffdim = feedForwardDim
numlayers nlayers nlayer numhiddenlayers = layers
vocabsize numembeddings = vocabulary
eps layernormeps rmsnormeps = epsilon
normfirst = norm: 'pre' or 'post'
dropoutp dropoutrate attentiondropout = dropout
iscausal = causal
keypaddingmask srckeypaddingmask paddingmask = keyMask: nonzero may be attended, the opposite of key_padding_mask
keypaddingmask srckeypaddingmask paddingmask = keyLengths: the number of keys that may be attended
attentionmask = keyMask: nonzero may be attended, as there
attnmask srcmask attentionmask = mask: nonzero may attend; boolean masks of PyTorch's layers mean the opposite, and float masks are a bias
needweights outputattentions returnattentionscores = returnWeights
averageattnweights = averageWeights
softmaxscale smscale = scale
softcapping logitsoftcap attnlogitsoftcapping = softcap
slidingwindow windowsize = window: { before, after }
pastkeyvalue pastkeyvalues kvcache = cache
pastkeyvalue pastkeyvalues kvcache = caches
positionids = positions
tokentypeids = tokenTypes
lr = learningRate
numthreads threads poolsize = workers
device = backend
abortsignal = signal
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
