"""A Llama with LoRA in PyTorch eager, written by hand: python3 torch_llama.py '{"folder": ..., "targets": [...], ...}'."""

import json
import math
import mmap
import os
import resource
import struct
import sys
import time

import torch


def read(path):
    """The tensors of a safetensors file in float32."""
    with open(path, "rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__", None)
    found = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        count = (end - begin) // 4
        flat = torch.frombuffer(data, dtype=torch.float32, count=count, offset=8 + size + begin)
        found[name] = flat.reshape(entry["shape"]).clone()
    return found


def norm(x, weight, eps):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


def main():
    work = json.loads(sys.argv[1])
    folder, targets, batch, length = (work[name] for name in ("folder", "targets", "batch", "length"))
    with open(os.path.join(folder, "config.json"), encoding="utf8") as file:
        config = json.load(file)
    weights = read(os.path.join(folder, "model.safetensors"))
    first = read(os.path.join(folder, "adapters.safetensors"))
    heads, shared = config["num_attention_heads"], config["num_key_value_heads"]
    size = config["hidden_size"] // heads
    eps, layers, vocabulary = config["rms_norm_eps"], config["num_hidden_layers"], config["vocab_size"]
    r, alpha = 8, 16
    scale = alpha / r
    adapters = {}
    for name, a in first.items():
        path = name[: -len(".loraA")]
        if path.split(".")[-1] in targets:
            outputs = weights[path + ".weight"].shape[0]
            adapters[path] = (a.requires_grad_(), torch.zeros(outputs, r, requires_grad=True))
    optimizer = torch.optim.AdamW([matrix for pair in adapters.values() for matrix in pair], lr=1e-3)
    rows = [
        [((i + 1) * 7919 * (t + 1) + ((t * t * 31) % 977)) % vocabulary for t in range(length + 1)]
        for i in range(batch)
    ]
    ids = torch.tensor(rows)
    tokens, wanted = ids[:, :-1], ids[:, 1:]
    frequencies = config["rope_theta"] ** (-2 * torch.arange(size // 2) / size)
    angles = torch.arange(length)[:, None] * frequencies[None, :]
    cos, sin = torch.cos(angles).repeat(1, 2), torch.sin(angles).repeat(1, 2)
    mask = torch.full((length, length), -math.inf).triu(1)

    def linear(x, path):
        y = torch.nn.functional.linear(x, weights[path + ".weight"])
        if path in adapters:
            a, b = adapters[path]
            y = y + scale * torch.nn.functional.linear(torch.nn.functional.linear(x, a), b)
        return y

    def turned(x):
        half = size // 2
        return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin

    def split(x, count):
        return x.view(batch, length, count, size).transpose(1, 2)

    def loss():
        x = torch.nn.functional.embedding(tokens, weights["model.embed_tokens.weight"])
        for i in range(layers):
            at = f"model.layers.{i}."
            y = norm(x, weights[at + "input_layernorm.weight"], eps)
            q = turned(split(linear(y, at + "self_attn.q_proj"), heads))
            k = turned(split(linear(y, at + "self_attn.k_proj"), shared))
            v = split(linear(y, at + "self_attn.v_proj"), shared)
            k, v = (each.repeat_interleave(heads // shared, 1) for each in (k, v))
            scores = q @ k.transpose(-1, -2) / math.sqrt(size) + mask
            attended = torch.softmax(scores, -1) @ v
            joined = attended.transpose(1, 2).reshape(batch, length, heads * size)
            x = x + linear(joined, at + "self_attn.o_proj")
            y = norm(x, weights[at + "post_attention_layernorm.weight"], eps)
            gate = torch.nn.functional.silu(linear(y, at + "mlp.gate_proj"))
            x = x + linear(gate * linear(y, at + "mlp.up_proj"), at + "mlp.down_proj")
        x = norm(x, weights["model.norm.weight"], eps)
        logits = x @ weights["model.embed_tokens.weight"].T
        return torch.nn.functional.cross_entropy(logits.reshape(-1, vocabulary), wanted.reshape(-1))

    def step():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        return value.item()

    def say(message):
        print(json.dumps(message), flush=True)

    say({"answer": [step() for _ in range(3)], "more": {"about": f"PyTorch {torch.__version__}"}})
    for _ in sys.stdin:
        cpu, start = time.process_time(), time.perf_counter()
        step()
        ms = (time.perf_counter() - start) * 1000
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        say({"ms": ms, "cpu": (time.process_time() - cpu) * 1000, "peak": peak})


main()
