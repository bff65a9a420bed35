"""The SUR-adapter from its equations: loops over tokens, NumPy, float64."""

import math

import numpy as np


def arrays(module):
    return {k: v.detach().double().numpy() for k, v in module.state_dict().items()}


def softmax(x):
    e = np.exp(x - np.max(x))
    return e / e.sum()


def layer_norm(v, w, name, eps=1e-5):
    return (v - v.mean()) / math.sqrt(v.var() + eps) * w[name + ".weight"] + w[name + ".bias"]


def dense(v, w, name):
    return w[name + ".weight"] @ v + w[name + ".bias"]


def self_attention(tokens, w, name, heads):
    """Attend within a list of vectors; each head has its slice of the width."""
    d = len(tokens[0])
    size = d // heads
    projected = [w[name + ".in_proj_weight"] @ v + w[name + ".in_proj_bias"] for v in tokens]
    q, k, v = ([p[i * d : (i + 1) * d] for p in projected] for i in range(3))
    mixed = []
    for i in range(len(tokens)):
        parts = []
        for h in range(heads):
            cut = slice(h * size, (h + 1) * size)
            scores = [q[i][cut] @ k[j][cut] / math.sqrt(size) for j in range(len(tokens))]
            shares = softmax(np.array(scores))
            parts.append(sum(s * v[j][cut] for j, s in enumerate(shares)))
        mixed.append(dense(np.concatenate(parts), w, name + ".out_proj"))
    return mixed


def encoder(tokens, w, heads, layers):
    """Run the post-norm layers over vectors that attend to each other."""
    for number in range(layers):
        p = f"transformer_encoder.layers.{number}."
        attended = self_attention(tokens, w, p + "self_attn", heads)
        tokens = [layer_norm(v + a, w, p + "norm1") for v, a in zip(tokens, attended, strict=True)]
        inner = [np.maximum(dense(v, w, p + "linear1"), 0) for v in tokens]
        tokens = [
            layer_norm(v + dense(i, w, p + "linear2"), w, p + "norm2")
            for v, i in zip(tokens, inner, strict=True)
        ]
    return tokens


def adapter(x, w, *, eta, axis, heads=8, layers=2):
    """Return out, t, z for x (B, T, d)."""
    batch, count, d = x.shape
    t = np.empty_like(x)
    groups = {
        "token": [[(b, i) for i in range(count)] for b in range(batch)],
        "batch": [[(b, i) for b in range(batch)] for i in range(count)],
        "none": [[(b, i)] for b in range(batch) for i in range(count)],
    }[axis]
    for group in groups:
        done = encoder([x[place] for place in group], w, heads, layers)
        for place, vector in zip(group, done, strict=True):
            t[place] = vector
    z = np.empty_like(x)
    for b in range(batch):
        for i in range(count):
            q = dense(t[b, i], w, "attention.query_layer")
            keys = [dense(x[b, j], w, "attention.key_layer") for j in range(count)]
            shares = softmax(np.array([q @ k / math.sqrt(d) for k in keys]))
            v = sum(s * x[b, j] for j, s in enumerate(shares)) + x[b, i]
            hidden = np.maximum(dense(v, w, "attention.output_layer.0"), 0)
            z[b, i] = dense(dense(hidden, w, "attention.output_layer.2") + v, w, "fc")
    return eta * z + (1 - eta) * x, t, z


def feature_kl(a, b, tau=1.0):
    """Return D(a, b; tau), element by element."""
    total = 0.0
    for n in range(b.shape[0]):
        for i in range(b.shape[1]):
            pa = softmax(a[n, i if a.shape[1] > 1 else 0] / tau)
            pb = softmax(b[n, i] / tau)
            for j in range(b.shape[2]):
                total += pb[j] * (math.log(pb[j]) - math.log(pa[j]))
    return total * tau**2 / b.shape[0]


def info_nce(a, b, temperature, same=None):
    """Return the two-sided cross-entropy, row by row."""
    unit = lambda v: v / math.sqrt(v @ v)  # noqa: E731
    n = len(a)
    losses = []
    for left, right in ((a, b), (b, a)):
        for i in range(n):
            logits = {
                j: unit(left[i]) @ unit(right[j]) / temperature
                for j in range(n)
                if j == i or same is None or not same[i][j]
            }
            top = max(logits.values())
            norm = top + math.log(sum(math.exp(v - top) for v in logits.values()))
            losses.append(norm - logits[i])
    return sum(losses) / len(losses)
