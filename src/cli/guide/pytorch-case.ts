import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { GUIDE, type GuideRefusal, type GuideResult } from './guide-case.ts'

/** The layer as one writes it in PyTorch after the paper: four projections, the whole matrix, softmax. */
const PROGRAM = `
import json, math, resource, sys, time
import torch
from torch import nn

tokens, seconds, E, H, B = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])

class MultiHeadAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(E, E) for _ in range(4))

    def forward(self, x):
        def split(t):
            return t.view(B, tokens, H, E // H).transpose(1, 2)
        q, k, v = split(self.query(x)), split(self.key(x)), split(self.value(x))
        weights = torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(E // H), dim=-1)
        return self.out((weights @ v).transpose(1, 2).reshape(B, tokens, E)), weights

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
layer, x, times = MultiHeadAttention().eval(), torch.randn(B, tokens, E), []
with torch.no_grad():
    layer(x)
    start = time.perf_counter()
    while len(times) < 2 or (time.perf_counter() - start < seconds and len(times) < 30):
        begin = time.perf_counter()
        layer(x)
        times.append(time.perf_counter() - begin)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps({"version": torch.__version__, "ms": sorted(times)[len(times) // 2] * 1000, "calls": len(times), "bytes": grown * (1 if sys.platform == "darwin" else 1024)}))
`

export interface PyTorchResult {
  readonly version: string
  readonly result: GuideResult
}

/** The same size in PyTorch, in a process of its own, on as many threads as it takes by itself. */
export async function measurePyTorch(
  python: string,
  tokens: number,
  caseMs: number,
  signal: AbortSignal,
): Promise<PyTorchResult | GuideRefusal> {
  const args = ['-c', PROGRAM, ...[tokens, caseMs / 1000, GUIDE.modelDim, GUIDE.heads, GUIDE.batch].map(String)]
  try {
    const { stdout } = await promisify(execFile)(python, args, { signal })
    const { version, ms, calls, bytes } = JSON.parse(stdout) as {
      version: string
      ms: number
      calls: number
      bytes: number
    }
    return {
      version,
      result: {
        tokens,
        mode: 'PyTorch',
        medianMs: ms,
        calls,
        tokensPerSecond: (GUIDE.batch * tokens) / (ms / 1000),
        residentBytes: bytes,
        peakBytes: null,
      },
    }
  } catch (error) {
    signal.throwIfAborted()
    const { stderr = '', message = '' } = error as { stderr?: string; message?: string }
    return {
      refused: stderr.includes('No module named')
        ? `${python} has no torch`
        : ((stderr || message).trim().split('\n').at(-1) ?? ''),
    }
  }
}
