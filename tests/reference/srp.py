"""Re-parameterization blocks by definition: loops, float64 numpy, evaluation mode.

A block is given by its weights (name -> array) and by stride, groups and dilation. Shapes: x is
(B, i, H, W); kernels are (o, i/g, k, k).
"""

import numpy as np


def conv(x, w, *, stride=1, padding=(0, 0), dilation=1, groups=1):
    """Convolution by its definition; zeros around."""
    b, _, h, width = x.shape
    o, per_group, kh, kw = w.shape
    ph, pw = padding
    out_h = (h + 2 * ph - dilation * (kh - 1) - 1) // stride + 1
    out_w = (width + 2 * pw - dilation * (kw - 1) - 1) // stride + 1
    y = np.zeros((b, o, out_h, out_w))
    for channel in range(o):
        first = (channel // (o // groups)) * per_group
        for row in range(out_h):
            for column in range(out_w):
                for u in range(kh):
                    for v in range(kw):
                        r, c = row * stride - ph + u * dilation, column * stride - pw + v * dilation
                        if 0 <= r < h and 0 <= c < width:
                            y[:, channel, row, column] += (
                                x[:, first : first + per_group, r, c] @ w[channel, :, u, v]
                            )
    return y


def transposed(x, w, *, stride=1, padding=0, dilation=1, groups=1):
    """Transposed convolution: every input pixel adds its kernel; w is (i, o/g, k, k)."""
    b, i, h, width = x.shape
    _, per_group, kh, kw = w.shape
    full = np.zeros(
        (
            b,
            per_group * groups,
            (h - 1) * stride + dilation * (kh - 1) + 1,
            (width - 1) * stride + dilation * (kw - 1) + 1,
        )
    )
    for channel in range(i):
        group = channel // (i // groups)
        for q in range(per_group):
            for row in range(h):
                for column in range(width):
                    for u in range(kh):
                        for v in range(kw):
                            at = (row * stride + u * dilation, column * stride + v * dilation)
                            full[:, group * per_group + q, at[0], at[1]] += (
                                x[:, channel, row, column] * w[channel, q, u, v]
                            )
    height, wide = full.shape[2:]
    return full[:, :, padding : height - padding, padding : wide - padding]


def norm(x, p, name, eps):
    """Batch norm with running statistics."""
    y = np.empty_like(x)
    for c in range(x.shape[1]):
        scale = p[f"{name}.weight"][c] / np.sqrt(p[f"{name}.running_var"][c] + eps)
        y[:, c] = (x[:, c] - p[f"{name}.running_mean"][c]) * scale + p[f"{name}.bias"][c]
    return y


def padded(x, p, name, eps, padding):
    """Batch norm, then a border of what it makes of zero."""
    zero = norm(np.zeros((1, x.shape[1], 1, 1)), p, name, eps)[0, :, 0, 0]
    b, c, h, w = x.shape
    y = np.empty((b, c, h + 2 * padding, w + 2 * padding))
    for channel in range(c):
        y[:, channel] = zero[channel]
    y[:, :, padding : padding + h, padding : padding + w] = norm(x, p, name, eps)
    return y


def average(x, k, *, stride, padding, dilation):
    """Mean over a window, zeros counted."""
    kernel = np.full((x.shape[1], 1, k, k), 1.0 / k**2)
    return conv(
        x,
        kernel,
        stride=stride,
        padding=(padding, padding),
        dilation=dilation,
        groups=x.shape[1],
    )


def repvgg(x, p, eps, *, stride, groups, dilation):
    y = _branch(x, p, "rbr_dense", eps, dilation, stride=stride, groups=groups, dilation=dilation)
    y = y + _branch(x, p, "rbr_1x1", eps, 0, stride=stride, groups=groups)
    return y + norm(x, p, "rbr_identity", eps) if "rbr_identity.weight" in p else y


def acnet(x, p, eps, *, stride, groups, dilation):
    how = dict(stride=stride, groups=groups, dilation=dilation)
    half = dilation * (p["square_conv.weight"].shape[2] - 1) // 2
    y = norm(conv(x, p["square_conv.weight"], padding=(half, half), **how), p, "square_bn", eps)
    y = y + norm(conv(x, p["ver_conv.weight"], padding=(half, 0), **how), p, "ver_bn", eps)
    return y + norm(conv(x, p["hor_conv.weight"], padding=(0, half), **how), p, "hor_bn", eps)


def mobileone(x, p, eps, *, stride, groups, dilation):
    how = dict(stride=stride, groups=groups)
    half = dilation * (p["rbr_conv.0.conv.weight"].shape[2] - 1) // 2
    j, y = 0, 0.0
    while f"rbr_conv.{j}.conv.weight" in p:
        y = y + _branch(x, p, f"rbr_conv.{j}", eps, half, dilation=dilation, **how)
        j += 1
    if "rbr_scale.conv.weight" in p:
        y = y + _branch(x, p, "rbr_scale", eps, 0, **how)
    return y + norm(x, p, "rbr_skip", eps) if "rbr_skip.weight" in p else y


def dbb(x, p, eps, *, stride, groups, dilation):
    how = dict(stride=stride, groups=groups)
    k = p["dbb_origin.conv.weight"].shape[2]
    half = dilation * (k - 1) // 2
    y = _branch(x, p, "dbb_origin", eps, half, dilation=dilation, **how)
    if "dbb_1x1.conv.weight" in p:
        y = y + _branch(x, p, "dbb_1x1", eps, 0, **how)
    if "dbb_1x1_kxk.idconv1.weight" in p:
        first = p["dbb_1x1_kxk.idconv1.weight"].copy()
        for r in range(first.shape[0]):
            first[r, r % first.shape[1]] += 1.0
    else:
        first = p["dbb_1x1_kxk.conv1.weight"]
    inner = padded(conv(x, first, groups=groups), p, "dbb_1x1_kxk.bn1.bn", eps, half)
    inner = conv(inner, p["dbb_1x1_kxk.conv2.weight"], dilation=dilation, **how)
    y = y + norm(inner, p, "dbb_1x1_kxk.bn2", eps)
    if "dbb_avg.conv.weight" in p:
        z = padded(conv(x, p["dbb_avg.conv.weight"], groups=groups), p, "dbb_avg.bn.bn", eps, half)
        mean = average(z, k, stride=stride, padding=0, dilation=dilation)
    else:
        mean = average(x, k, stride=stride, padding=half, dilation=dilation)
    return y + norm(mean, p, "dbb_avg.avgbn", eps)


def orepa(x, p, eps, *, stride, groups, dilation):
    kernel = orepa_kernel(p, groups)
    y = conv(
        x, kernel, stride=stride, padding=(dilation, dilation), dilation=dilation, groups=groups
    )
    return norm(y, p, "bn", eps)


def orepa_kernel(p, g):
    origin = p["weight_orepa_origin"]
    o, columns, k, _ = origin.shape
    kernel = np.zeros_like(origin)
    inner = p["weight_orepa_1x1_kxk_idconv1"].shape[0]
    for row in range(o):
        v = p["vector"][:, row]
        group = row // (o // g)
        for column in range(columns):
            kernel[row, column] += v[0] * origin[row, column]
            kernel[row, column] += v[1] * p["weight_orepa_avg_conv"][row, column, 0, 0] / k**2
            for h in range(3):
                for w in range(3):
                    if row < o / 2:
                        wave = np.cos(np.pi * (h + 0.5) * (row + 1) / 3)
                    else:
                        wave = np.cos(np.pi * (w + 0.5) * (row + 1 - o / 2) / 3)
                    kernel[row, column, h, w] += (
                        v[2] * p["weight_orepa_pfir_conv"][row, column, 0, 0] * wave
                    )
            for m in range(inner // g):
                line = group * (inner // g) + m
                first = p["weight_orepa_1x1_kxk_idconv1"][line, column, 0, 0]
                first += float(line % columns == column)
                kernel[row, column] += v[3] * first * p["weight_orepa_1x1_kxk_conv2"][row, m]
            kernel[row, column, 1, 1] += v[4] * p["weight_orepa_1x1"][row, column, 0, 0]
            # row c (o/g) + q is group c, member q; the pointwise rows are ordered (q, c)
            q = row % (o // g)
            for t in range(8):
                depthwise = p["weight_orepa_gconv_dw"][(group * columns + column) * 8 + t, 0]
                pointwise = p["weight_orepa_gconv_pw"][q * g + group, column * 8 + t, 0, 0]
                kernel[row, column] += v[5] * depthwise * pointwise
    return kernel


FORWARD = {
    "repvgg": repvgg,
    "acnet": acnet,
    "dbb": dbb,
    "mobileone": mobileone,
    "orepa": orepa,
}


def _branch(x, p, name, eps, half, *, stride=1, groups=1, dilation=1):
    y = conv(
        x,
        p[f"{name}.conv.weight"],
        stride=stride,
        padding=(half, half),
        dilation=dilation,
        groups=groups,
    )
    return norm(y, p, f"{name}.bn", eps)
