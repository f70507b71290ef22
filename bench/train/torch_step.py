"""The training step of bench:train in PyTorch: python3 torch_step.py PROBLEM.safetensors THREADS ROUNDS

Prints JSON: the loss before each step, the milliseconds of each, and the largest resident memory of the process.
"""
import json
import math
import resource
import struct
import sys
import time

import torch
import torch.nn.functional as F

path, threads, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(threads)
with open(path, "rb") as file:
    (length,) = struct.unpack("<Q", file.read(8))
    header = json.loads(file.read(length))
    body = bytearray(file.read())
sizes = json.loads(header.pop("__metadata__")["sizes"])
TYPES = {"F32": torch.float32, "I32": torch.int32}


def tensor(entry):
    start, end = entry["data_offsets"]
    return torch.frombuffer(body[start:end], dtype=TYPES[entry["dtype"]]).reshape(entry["shape"]).clone()


tensors = {name: tensor(entry) for name, entry in header.items()}
B, M, E, H, V = sizes["batch"], sizes["tokens"], sizes["modelDim"], sizes["heads"], sizes["vocabulary"]
tokens, targets = tensors.pop("tokens").long().reshape(B, M), tensors.pop("targets").long()
positions = tensors.pop("positions")
p = {name: torch.nn.Parameter(value) for name, value in tensors.items()}
hidden = torch.full((M, M), -1e9).triu(1)


def block(x, name):
    normed = F.layer_norm(x, (E,), p[name + "norm1.weight"], p[name + "norm1.bias"])
    q, k, v = F.linear(normed, p[name + "self_attn.in_proj_weight"], p[name + "self_attn.in_proj_bias"]).reshape(B, M, 3, H, E // H).permute(2, 0, 3, 1, 4)
    weights = (q @ k.transpose(-1, -2) / math.sqrt(E // H) + hidden).softmax(-1)
    context = (weights @ v).transpose(1, 2).reshape(B, M, E)
    x = x + F.linear(context, p[name + "self_attn.out_proj.weight"], p[name + "self_attn.out_proj.bias"])
    normed = F.layer_norm(x, (E,), p[name + "norm2.weight"], p[name + "norm2.bias"])
    return x + F.linear(F.relu(F.linear(normed, p[name + "linear1.weight"], p[name + "linear1.bias"])), p[name + "linear2.weight"], p[name + "linear2.bias"])


def loss():
    x = F.embedding(tokens, p["embedding.weight"]) * math.sqrt(E) + positions
    for layer in range(sizes["layers"]):
        x = block(x, f"encoder.layers.{layer}.")
    x = F.layer_norm(x, (E,), p["encoder.norm.weight"], p["encoder.norm.bias"])
    return F.cross_entropy((x @ p["embedding.weight"].T).flatten(0, 1), targets)


optimizer = torch.optim.Adam(p.values(), lr=1e-3)
losses, times = [], []
for _ in range(rounds):
    start = time.perf_counter()
    optimizer.zero_grad()
    value = loss()
    value.backward()
    optimizer.step()
    times.append((time.perf_counter() - start) * 1000)
    losses.append(value.item())
print(json.dumps({"losses": losses, "times": times, "peakBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "version": torch.__version__}))
