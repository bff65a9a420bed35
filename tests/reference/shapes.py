"""One image of `shapes`, sub-pixel by sub-pixel in Python floats, from the definition."""

import math

import numpy as np

PI = math.pi


def direction(u, a, b):
    v, phi = 2 * u[a] - 1, 2 * PI * u[b]
    r = math.sqrt(1 - v * v)
    return np.array([r * math.cos(phi), r * math.sin(phi), v])


def texture(k, x, y, u, g, size):
    z = size / 32
    length, p, p2 = (4 + 4 * u[2]) * z, 2 * PI * u[3], 2 * PI * u[4]
    if k <= 3:
        a = math.radians(45 * k)
        return 0.5 + math.sin(2 * PI * (x * math.cos(a) + y * math.sin(a)) / length + p) / 2
    if k == 4:
        return 0.5 + math.sin(2 * PI * x / length + p) * math.sin(2 * PI * y / length + p2) / 2
    if k == 5:
        dx, dy = (x / length + u[3]) % 1 - 0.5, (y / length + u[4]) % 1 - 0.5
        return float(dx * dx + dy * dy < 0.09)
    if k == 6:
        return (
            0.5 + math.sin(2 * PI * math.hypot(x - size * u[5], y - size * u[6]) / length + p) / 2
        )
    if k <= 8:
        q = 4 if k == 7 else 12
        cx, cy = (v / size * (q - 1) for v in (x, y))
        i, j = min(int(cy), q - 2), min(int(cx), q - 2)
        fy, fx = cy - i, cx - j
        above = g[i, j] * (1 - fx) + g[i, j + 1] * fx
        below = g[i + 1, j] * (1 - fx) + g[i + 1, j + 1] * fx
        return above * (1 - fy) + below * fy
    ramp = (x - size / 2) * math.cos(p) + (y - size / 2) * math.sin(p)
    return min(max(0.5 + ramp / size, 0), 1)


def inside(c, p, q):
    r = math.hypot(p, q)
    if c == 0:
        return r <= 0.85
    if c == 1:
        return 0.5 <= r <= 0.92
    if c == 2:
        return max(abs(p), abs(q)) <= 0.72
    if c == 3:
        angles = [math.radians(a) for a in (270, 30, 150)]
        return max(p * math.cos(a) + q * math.sin(a) for a in angles) <= 0.475
    if c == 4:
        a = abs((math.atan2(q, p) + PI / 5) % (2 * PI / 5) - PI / 5)
        bx, by = 0.42 * math.cos(PI / 5), 0.42 * math.sin(PI / 5)
        return (bx - 0.95) * (r * math.sin(a)) - by * (r * math.cos(a) - 0.95) >= 0
    if c == 5:
        return (abs(p) <= 0.28 and abs(q) <= 0.9) or (abs(q) <= 0.28 and abs(p) <= 0.9)
    if c == 6:
        return r <= 0.9 and (p - 0.4) ** 2 + q * q >= 0.65**2
    if c == 7:
        stem = -0.6 <= p <= -0.1 and abs(q) <= 0.85
        return stem or (abs(p) <= 0.6 and 0.35 <= q <= 0.85)
    if c == 8:
        roof = abs(p) <= 0.75 and -0.85 <= q <= -0.35
        return roof or (abs(p) <= 0.25 and abs(q) <= 0.85)
    return abs(p) <= 0.92 and abs(q) <= 0.3


def image(i, *, split, context, size, seed):
    """Return (image (S, S, 3) uint8, coverage (S, S) of sub-pixels, texture id)."""

    def stream(add):
        key = np.array([seed, split + add], np.uint64)
        return np.random.Generator(np.random.Philox(key=key))

    u = stream(0).random((i + 1, 64))[i]
    noise = stream(1000).standard_normal((i + 1, size, size, 3), dtype=np.float32)[i]
    g = stream(2000).random((i + 1, 12, 12))[i]
    label, z = i % 10, size / 32
    k = label if u[0] < context else int(10 * u[1])
    base, c = 0.25 + 0.5 * u[7:10], 0.30 + 0.15 * u[13]
    radius = size * (0.16 + 0.14 * u[40])
    cx, cy = radius + (size - 2 * radius) * u[41], radius + (size - 2 * radius) * u[42]
    th, o = math.radians(30) * (2 * u[43] - 1), PI * u[48]

    total, coverage = np.zeros((size, size, 3)), np.zeros((size, size), int)
    for row in range(2 * size):
        for column in range(2 * size):
            x, y = (column + 0.5) / 2, (row + 0.5) / 2
            t = texture(k, x, y, u, g, size)
            colour = base + (2 * t - 1) * (0.05 + 0.07 * u[10]) * direction(u, 11, 12)
            for b in (16, 24, 32):
                dx, dy, a = x - size * u[b], y - size * u[b + 1], PI * u[b + 2]
                along = dx * math.cos(a) + dy * math.sin(a)
                across = -dx * math.sin(a) + dy * math.cos(a)
                if (
                    abs(along) <= size * (0.1 + 0.15 * u[b + 3])
                    and abs(across) <= (0.6 + 0.9 * u[b + 4]) * z
                ):
                    colour = base + c * direction(u, b + 5, b + 6)
            p = ((x - cx) * math.cos(th) + (y - cy) * math.sin(th)) / radius
            q = (-(x - cx) * math.sin(th) + (y - cy) * math.cos(th)) / radius
            if inside(label, p, q):
                phase = 2 * PI * (x * math.cos(o) + y * math.sin(o)) / ((3 + 2 * u[47]) * z)
                grating = math.sin(phase) * 0.10 * u[44] * direction(u, 45, 46)
                colour = base + c * direction(u, 14, 15) + grating
                coverage[row // 2, column // 2] += 1
            total[row // 2, column // 2] += colour
    pixels = np.clip(np.rint(255 * (total / 4 + 0.04 * noise.astype(float))), 0, 255)
    return pixels.astype(np.uint8), coverage, k
