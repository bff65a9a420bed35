"""Attention modules written out from their equations, shortest form first, no shared code.

`REFERENCE[form](p, f, training, shortcut)` gives the gated map of one module: p is a dictionary of
its parameters and statistics by the names of the state dict. Running statistics in p are replaced
in training. Any dtype; differentiable by autograd; nothing is fused. The benchmark takes these
functions as the plain eager form.
"""

from math import cos, pi, sqrt

import torch
import torch.nn.functional as F


def gap(f):
    return f.mean((2, 3))


def spread(gate):
    return gate[:, :, None, None]


def excite(p, u, prefix=""):
    hidden = u @ p[prefix + "fc1.weight"].t()
    if prefix + "fc1.bias" in p:
        hidden = hidden + p[prefix + "fc1.bias"]
    out = torch.relu(hidden) @ p[prefix + "fc2.weight"].t()
    return out + p[prefix + "fc2.bias"] if prefix + "fc2.bias" in p else out


def batch_norm(p, prefix, x, training, momentum=0.1, eps=1e-5):
    axes = [0, *range(2, x.dim())]
    shape = [1, -1] + [1] * (x.dim() - 2)
    mean, var = p[prefix + "running_mean"], p[prefix + "running_var"]
    if training:
        count = x.numel() // x.shape[1]
        mean, var = x.mean(axes), x.var(axes, correction=0)
        for name, new in (("mean", mean), ("var", var * count / (count - 1))):
            old = p[prefix + "running_" + name]
            p[prefix + "running_" + name] = (1 - momentum) * old + momentum * new.detach()
    y = (x - mean.view(shape)) / torch.sqrt(var.view(shape) + eps)
    return y * p[prefix + "weight"].view(shape) + p[prefix + "bias"].view(shape)


def conv_channels(weight, u):
    return F.conv1d(u[:, None], weight, padding=weight.shape[-1] // 2)[:, 0]


def se(p, f, training, shortcut):
    return f * spread(torch.sigmoid(excite(p, gap(f))))


def eca(p, f, training, shortcut):
    return f * spread(torch.sigmoid(conv_channels(p["conv.weight"], gap(f))))


def ie(p, f, training, shortcut):
    return f * spread(torch.sigmoid(p["w"] * gap(f) + p["b"]))


def sub_gates(p, v):
    gate = torch.sigmoid(v)
    for w, b in zip(p["w"], p["b"], strict=True):
        v = w * v + b
        gate = gate * torch.sigmoid(v)
    return gate


def lsas_se(p, f, training, shortcut):
    return f * spread(sub_gates(p, excite(p, gap(f), "base.")))


def lsas_eca(p, f, training, shortcut):
    return f * spread(sub_gates(p, conv_channels(p["base.conv.weight"], gap(f))))


def sem(p, f, training, shortcut):
    u = gap(f)
    omega = torch.sigmoid(u @ p["decision.weight"].t() + p["decision.bias"])
    fc = excite(p, u, "ops.0.")
    conv = conv_channels(p["ops.1.conv.weight"], u)
    affine = p["ops.2.w"] * u + p["ops.2.b"]
    gate = 1
    for j, o in enumerate((fc, conv, affine)):
        gate = gate * torch.sigmoid(omega[:, j, None] * o)
    return f * spread(gate)


def spem(p, f, training, shortcut):
    flat = f.flatten(2)
    top = p["w_rew"] * flat.max(2).values + p["b_rew"]
    low = p["w_rew"] * flat.min(2).values + p["b_rew"]
    p0, p1 = p["p"]
    total = p0**2 + p1**2 + 2e-12
    s = (p0**2 + 1e-12) / total * top + (p1**2 + 1e-12) / total * low
    return f * spread(torch.sigmoid(top + low) * torch.sigmoid(p["w_exc"] * s + p["b_exc"]))


def ras(p, f, training, shortcut):
    z = p["op.w"] * gap(f) + p["op.b"]
    z = p["op.w"] * batch_norm(p, "bns.0.", z, training) + p["op.b"]
    return f * spread(torch.sigmoid(z))


def srm(p, f, training, shortcut):
    flat = f.flatten(2)
    std = torch.sqrt(flat.var(2, correction=1) + 1e-5)
    z = p["cfc"][:, 0] * flat.mean(2) + p["cfc"][:, 1] * std
    return f * spread(torch.sigmoid(batch_norm(p, "bn.", z, training)))


def spa(p, f, training, shortcut):
    pools = [F.adaptive_avg_pool2d(f, side).flatten(1) for side in (1, 2, 4)]
    return f * spread(torch.sigmoid(excite(p, torch.cat(pools, 1))))


def fca(p, f, training, shortcut):
    pairs = [(0, 0), (0, 1), (6, 0), (0, 5), (0, 2), (1, 0), (1, 2), (4, 0)]
    pairs += [(5, 0), (1, 6), (3, 0), (0, 4), (0, 6), (0, 3), (3, 5), (2, 2)]

    def wave(q, i):
        return cos(pi * q * (i + 0.5) / 7) / sqrt(7) * (sqrt(2) if q else 1)

    rows = [[[wave(u, i) * wave(v, j) for j in range(7)] for i in range(7)] for u, v in pairs]
    table = torch.tensor(rows, dtype=torch.float64).to(f.dtype)
    basis = table.repeat_interleave(f.shape[1] // 16, 0)
    y = (F.adaptive_avg_pool2d(f, 7) * basis).sum((2, 3))
    return f * spread(torch.sigmoid(excite(p, y)))


def cbam(p, f, training, shortcut):
    scores = excite(p, gap(f)) + excite(p, f.flatten(2).max(2).values)
    scaled = f * spread(torch.sigmoid(scores))
    pooled = torch.cat([scaled.max(1, keepdim=True).values, scaled.mean(1, keepdim=True)], 1)
    y = F.conv2d(pooled, p["conv.weight"], padding=3)
    return scaled * torch.sigmoid(batch_norm(p, "bn.", y, training, momentum=0.01))


def bam(p, f, training, shortcut):
    hidden = gap(f) @ p["channel.fc1.weight"].t() + p["channel.fc1.bias"]
    hidden = torch.relu(batch_norm(p, "channel.bn.", hidden, training))
    channel = hidden @ p["channel.fc2.weight"].t() + p["channel.fc2.bias"]
    y = f
    for conv, bn, far in (("reduce", "bn0", 0), ("conv1", "bn1", 4), ("conv2", "bn2", 4)):
        weight, bias = p[f"spatial.{conv}.weight"], p[f"spatial.{conv}.bias"]
        y = F.conv2d(y, weight, bias, padding=far, dilation=max(1, far))
        y = torch.relu(batch_norm(p, f"spatial.{bn}.", y, training))
    y = F.conv2d(y, p["spatial.out.weight"], p["spatial.out.bias"])
    return f * (1 + torch.sigmoid(spread(channel) * y))


def sge(p, f, training, shortcut):
    b, c, h, w = f.shape
    groups = p["weight"].shape[1]
    x = f.reshape(b * groups, c // groups, h, w)
    t = (x * x.mean((2, 3), keepdim=True)).sum(1).reshape(b, groups, h * w)
    t = (t - t.mean(2, keepdim=True)) / (t.std(2, keepdim=True) + 1e-5)
    t = t.reshape(b, groups, h, w) * p["weight"] + p["bias"]
    return (x * torch.sigmoid(t).reshape(b * groups, 1, h, w)).reshape(b, c, h, w)


def dia_step(p, f, h, c):
    """Return the gated map and the next state."""
    gates = excite(p, gap(f), "ih.") + excite(p, h, "hh.")
    i, forget, g, o = gates.chunk(4, 1)
    c = torch.sigmoid(forget) * c + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.sigmoid(c)
    return f * spread(h), h, c


def dia(p, f, training, shortcut):
    zero = f.new_zeros(f.shape[:2])
    return dia_step(p, f, zero, zero)[0]


def stepnet(p, f, training, shortcut):
    z = torch.cat([gap(shortcut), gap(shortcut + f)], 1)
    return f * spread(torch.sigmoid(excite(p, z)))


def asr_se(p, f, training, shortcut):
    return f * spread(torch.sigmoid(excite(p, p["psi"], "inner.0.")))


def asr_se_se(p, f, training, shortcut):
    scaled = f * spread(torch.sigmoid(excite(p, p["0.psi"], "0.inner.0.")))
    return scaled * spread(torch.sigmoid(excite(p, gap(scaled), "1.")))


REFERENCE = {
    "se": se,
    "eca": eca,
    "ie": ie,
    "lsas(se)": lsas_se,
    "lsas(se,order=3)": lsas_se,
    "lsas(eca,order=2)": lsas_eca,
    "sem(fc,eca,ie)": sem,
    "spem": spem,
    "ras(ie)": ras,
    "srm": srm,
    "spa": spa,
    "fca": fca,
    "cbam": cbam,
    "bam": bam,
    "sge": sge,
    "dia": dia,
    "stepnet": stepnet,
    "asr(se)": asr_se,
    "asr(se)+se": asr_se_se,
    "share(se)": lambda p, *rest: se({k.removeprefix("inner."): v for k, v in p.items()}, *rest),
}
