"""The authors' program executor, written from its description: loops, one case after the other."""

from __future__ import annotations

import math

ARITY = {
    "g_equal": 1, "g_double": 1, "g_half": 1, "g_add": 2, "g_minus": 2, "g_mul": 2, "g_divide": 2,
    "g_bili": 3, "g_sin": 1, "g_cos": 1, "g_tan": 1, "g_asin": 1, "g_acos": 1, "gougu_add": 2,
    "gougu_minus": 2, "cal_circle_area": 1, "cal_circle_perimeter": 1, "cal_cone": 2,
}  # fmt: skip


def value(op, x):
    if op == "g_equal":
        return x[0]
    if op == "g_double":
        return 2 * x[0]
    if op == "g_half":
        return x[0] / 2
    if op == "g_add":
        return x[0] + x[1]
    if op == "g_minus":
        return abs(x[0] - x[1])
    if op == "g_mul":
        return x[0] * x[1]
    if op == "g_divide":
        return x[0] / x[1] if x[0] > 0 and x[1] > 0 else False
    if op == "g_bili":
        return x[0] / x[1] * x[2] if min(x) > 0 else False
    if op in ("g_sin", "g_cos"):
        if x[0] % 15 != 0 or x[0] < 0 or x[0] > 180:
            return False
        return getattr(math, op[2:])(x[0] / 180 * math.pi)
    if op == "g_tan":
        if x[0] % 15 != 0 or x[0] < 5 or x[0] > 85:
            return False
        return math.tan(x[0] / 180 * math.pi)
    if op in ("g_asin", "g_acos"):
        return getattr(math, op[2:])(x[0]) / math.pi * 180 if -1 < x[0] < 1 else False
    if op == "gougu_add":
        return math.sqrt(x[0] * x[0] + x[1] * x[1])
    if op == "gougu_minus":
        return False if x[0] == x[1] else math.sqrt(abs(x[0] * x[0] - x[1] * x[1]))
    if op == "cal_circle_area":
        return x[0] * x[0] * math.pi
    if op == "cal_circle_perimeter":
        return 2 * math.pi * x[0]
    return x[0] * x[1] * math.pi


def run(tokens, numbers):
    """Return the list of step values, or None when the program is rejected."""
    constants, done, at = [30, 60, 90, 180, 360, math.pi, 0.618], [], 0
    while at < len(tokens):
        if tokens[at] not in ARITY:
            return None
        operands = []
        for token in tokens[at + 1 : at + 1 + ARITY[tokens[at]]]:
            source = {"N": numbers, "V": done, "C": constants}.get(token[:1])
            if source is None or not token[-1].isdigit() or int(token[-1]) >= len(source):
                return None
            operands.append(source[int(token[-1])])
        if len(operands) < ARITY[tokens[at]]:
            return None
        done.append(value(tokens[at], operands))
        at += 1 + len(operands)
    return done
