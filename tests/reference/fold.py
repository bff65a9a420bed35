"""The fold rules by definition: loops over channels, float64 numpy. Convolutions: see `srp`."""

import numpy as np


def conv_norm(weight, bias, gamma, beta, mean, var, eps, *, groups=1, transposed=False):
    """Return weight and bias of BN(conv(x)), one output channel after the other."""
    w = weight.copy()
    outputs = len(gamma)
    b = np.empty(outputs)
    for o in range(outputs):
        s = gamma[o] / np.sqrt(var[o] + eps)
        b[o] = ((0.0 if bias is None else bias[o]) - mean[o]) * s + beta[o]
        if not transposed:
            w[o] = s * weight[o]
            continue
        per_group = weight.shape[1]
        group, q = divmod(o, per_group)
        size = weight.shape[0] // groups
        for i in range(group * size, (group + 1) * size):
            w[i, q] = s * weight[i, q]
    return w, b


def scale_input(weight, v, *, groups=1):
    """Return the weight of conv(x v)."""
    w = weight.copy()
    o, per_group = weight.shape[:2]
    for row in range(o):
        group = row // (o // groups)
        for column in range(per_group):
            w[row, column] = weight[row, column] * v[group * per_group + column]
    return w


def sequence(first, b1, second, b2, *, groups=1):
    """Return weight and bias of a 1x1 convolution followed by a kxk one."""
    o, inner, h, w = second.shape
    per_group = first.shape[1]
    weight = np.zeros((o, per_group, h, w))
    bias = b2.copy()
    for row in range(o):
        group = row // (o // groups)
        for m in range(inner):
            line = group * inner + m
            for column in range(per_group):
                weight[row, column] += second[row, m] * first[line, column, 0, 0]
            bias[row] += b1[line] * second[row, m].sum()
    return weight, bias
