"""Forward and backward of plain attention in PyTorch, on one thread: python3 pytorch.py TOKENS HEADS HEAD_SIZE FOLDER

Reads FOLDER/data.bin (query, key, value, dOutput as float32 [n, H, D] each), writes FOLDER/gradients.bin (dQuery, dKey, dValue)
for the caller to check, and prints the milliseconds of each pass as JSON.
"""
import json
import sys
import time

import numpy
import torch

tokens, heads, size = map(int, sys.argv[1:4])
folder = sys.argv[4]
torch.set_num_threads(1)
arrays = numpy.fromfile(f"{folder}/data.bin", dtype=numpy.float32).reshape(4, tokens, heads, size)
query, key, value = (torch.from_numpy(arrays[i].copy()).requires_grad_() for i in range(3))
d_output = torch.from_numpy(arrays[3].copy())


def run():
    q, k, v = (each.transpose(0, 1) for each in (query, key, value))
    output = (torch.softmax(q @ k.transpose(1, 2) * size**-0.5, -1) @ v).transpose(0, 1)
    return torch.autograd.grad(output, (query, key, value), d_output)


numpy.stack([each.numpy() for each in run()]).astype(numpy.float32).tofile(f"{folder}/gradients.bin")
times = []
while len(times) < 7 and (sum(times) < 1500 or len(times) < 2):
    start = time.perf_counter()
    run()
    times.append((time.perf_counter() - start) * 1000)
print(json.dumps({"times": times, "version": torch.__version__}))
