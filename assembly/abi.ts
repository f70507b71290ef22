/**
 * What the kernels and the engine must agree on: plain constants that both compilers accept.
 * Addresses are bytes in the linear memory; `P_…` are byte offsets in the parameter block, one 4-byte word each.
 */

/** Queries in lanes: a group is two vectors of four rows. */
export const GROUP_ROWS = 8
/** Query rows of one kernel call. */
export const TILE_ROWS = 64

/** The parameter block, and the first byte that the engine may lay out; below stand the kernels' own constants. */
export const PARAMETERS = 4096
export const ARENA_START = 4352

/** What a call of `attendTile` makes of the scores. */
export const PHASE_CHUNKED = 0
/** Standard mode, first pass: scores to `rows`, maximum and sum to the state. */
export const PHASE_SCORES = 1
/** Standard mode, second pass: scores from `rows`, weights to `rows`, output accumulated. */
export const PHASE_VALUES = 2
/** Chosen rows of chunked mode: scores computed again, weights to `rows`. */
export const PHASE_WEIGHTS = 3

/** Scores may be NaN or infinite: queries or keys hold NaN, an infinity or a magnitude of 2^56 or more. */
export const FLAG_EXTREME_SCORES = 1
/** Values hold NaN, an infinity or a magnitude of 2^56 or more. */
export const FLAG_EXTREME_VALUES = 2
export const FLAG_MASK = 4
export const FLAG_BIAS = 8
export const FLAG_SEGMENTS = 16
export const FLAG_SOFTCAP = 32
export const FLAG_ALIBI = 64
export const FLAG_DROPOUT = 128
export const FLAG_STATISTICS = 256
/** Keys, values lie row-major, for a task of up to FEW_ROWS rows; else packed as score-group.ts and value-group.ts say. */
export const FLAG_ROW_MAJOR_KEYS = 512
export const FLAG_ROW_MAJOR_VALUES = 1024

/** Products are multiplied by P_SCALE although nothing is added to them: for a scale that a log-sum-exp cannot be divided by. */
export const FLAG_SCALED = 2048
/** Backward: what becomes of dS beside dQ and dK. */
export const FLAG_BIAS_MATRIX = 4096
export const FLAG_BIAS_COLUMNS = 8192
export const FLAG_BIAS_ROWS = 16384
export const FLAG_SLOPES = 32768

/** Up to so many rows a task is computed row by row: with 8 queries in lanes, most would be idle. */
export const FEW_ROWS = 4

/** Sizes: rows ≤ TILE_ROWS, keys ≤ the block's rows, D, Dv. */
export const P_PHASE = 0
export const P_FLAGS = 4
export const P_ROWS = 8
export const P_KEYS = 12
export const P_HEAD_SIZE = 16
export const P_VALUE_SIZE = 20
/** Row r of the tile sees key j of the block when lowBase + r ≤ j < min(highBase + r, keyLimit). */
export const P_LOW_BASE = 24
export const P_HIGH_BASE = 28
export const P_KEY_LIMIT = 32
/** i + queryOffset of the tile's first row, less the block's first key. */
export const P_POSITION = 36
/** Addresses: packed queries, keys, values, accumulated output and state of this tile. */
export const P_QUERY = 40
export const P_KEY = 44
export const P_VALUE = 48
export const P_OUTPUT = 52
export const P_STATE = 56
/** Scratch of one group: scores [block][8], allow bytes [block], bias in lanes [block][8], 128 bytes of vectors. */
export const P_SCORES = 60
export const P_ALLOW = 64
export const P_BIAS_LANES = 68
export const P_VECTORS = 72
/** Mask bytes and biases of the tile, row-major; a stride of 0 broadcasts. Strides are in elements. */
export const P_MASK = 76
export const P_MASK_STRIDE = 80
export const P_BIAS = 84
export const P_BIAS_STRIDE = 88
export const P_QUERY_SEGMENTS = 92
export const P_KEY_SEGMENTS = 96
/** Scores or weights of the tile, row-major [TILE_ROWS][stride]. */
export const P_ROWS_OUT = 100
export const P_ROWS_STRIDE = 104
/** f32: log2(e) × natural logarithm a unit of score; and −64 over it, the lowest difference that counts */
export const P_FACTOR = 148
export const P_FLOOR = 152
/** f32: what products are multiplied by before softcap, bias and ALiBi; without these P_FACTOR holds it */
export const P_SCALE = 156
/** f32 */
export const P_SOFTCAP = 108
export const P_ALIBI_SLOPE = 112
/** f32, times 1/sum: 1 unless dropout is on */
export const P_KEEP_SCALE = 116
/** Philox: kept when word > threshold; key; counter words ⌊j/4⌋ of the block's first key, first row, b·H + h. */
export const P_THRESHOLD = 120
export const P_SEED_LOW = 124
export const P_SEED_HIGH = 128
export const P_COUNTER_KEY = 132
export const P_COUNTER_ROW = 136
export const P_BATCH_HEAD = 140
/** The block's first key. */
export const P_BLOCK_START = 144

/** Backward, addresses. Rows past the tile's last are zeros in every operand. f32 [64]: logSumExp in units of score, and δ. */
export const P_LOG_SUM_EXP = 160
export const P_DELTA = 164
/** Packed dO, and values packed as keys are: the operands of dP. */
export const P_D_OUTPUT = 168
export const P_VALUE_KEYS = 172
/** Keys in panels [⌈D / 8⌉][block][8]; queries and dO (or X) row-major, padded to whole panels. */
export const P_KEY_PANELS = 176
export const P_QUERY_ROWS = 180
export const P_D_OUTPUT_ROWS = 184
/** P and dS of the tile, [TILE_ROWS / 8][block][8]. */
export const P_PROBABILITIES = 188
export const P_D_SCORES = 192
/** Rows of dQ, of dK and of dV (or Pᵀ·X), padded to whole panels; updated. */
export const P_D_QUERY = 196
export const P_D_KEY = 200
export const P_D_VALUE = 204
/** Keys a block as the layout has it: the stride of P, dS and panels. */
export const P_BLOCK_ROWS = 208
/** f32 [block][8]: the softcap's derivative; i32 [TILE_ROWS / 8][2]: keys that each group sees; u8 [block]: bits of kept weights. */
export const P_SOFTCAP_SLOPES = 212
export const P_RANGES = 216
export const P_KEPT = 220
/** f32 [block]: Σ of dS over rows, updated; f32 [TILE_ROWS] each, written: Σ of dS, and of dS·|position − j|, over the block's keys. */
export const P_BIAS_COLUMNS = 224
export const P_BIAS_ROWS = 228
export const P_SLOPE_ROWS = 232

/** State of a group: f32 [8] each, then i32. The maximum is in units of score, p = 2^(factor·(s − max)). */
export const STATE_MAX = 0
export const STATE_SUM = 32
/** Σ p·factor·(s − max) */
export const STATE_MOMENT = 64
/** Σ p·|i + queryOffset − j| */
export const STATE_DISTANCE = 96
/** i32 [8]: the lowest key, counted from the task's key 0, of the largest score; −1 where none */
export const STATE_INDEX = 128
/** bits: which rows had an allowed key */
export const STATE_SEEN = 160
export const STATE_BYTES = 192

/** Linear layers: what becomes of X·Wᵀ + b. */
export const ACTIVATION_NONE = 0
export const ACTIVATION_RELU = 1
export const ACTIVATION_GELU = 2
export const ACTIVATION_GELU_TANH = 3
export const ACTIVATION_SILU = 4
export const ACTIVATION_TANH = 5
