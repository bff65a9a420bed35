"""Slow versions of the fusion room from its equations: loops, float64."""

import numpy as np


def blur(image, taps, ratio):
    """(P Z)[i, j] = sum_{a,b} h[a, b] Z[s i + a - p, s j + b - p], replicated borders."""
    size = len(taps)
    p = (size - ratio) // 2
    height, width, bands = image.shape
    out = np.zeros((height // ratio, width // ratio, bands))
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            for a in range(size):
                for b in range(size):
                    u = min(max(ratio * i + a - p, 0), height - 1)
                    v = min(max(ratio * j + b - p, 0), width - 1)
                    out[i, j] += taps[a, b] * image[u, v]
    return out


def official_pair(cube, ratio):
    """The official simulation: crop, kernel, block sampling."""
    x = cube / cube.max()
    rows, columns = x.shape[0] % ratio, x.shape[1] % ratio
    x = x[rows // 2 : x.shape[0] - (rows - rows // 2)]
    x = x[:, columns // 2 : x.shape[1] - (columns - columns // 2)]
    sigma = ratio / 2.35482
    m = (ratio - 1) / 2
    h = np.zeros((ratio, ratio))
    for a in range(ratio):
        for b in range(ratio):
            h[a, b] = np.exp(-((a - m) ** 2 + (b - m) ** 2) / (2 * sigma**2))
    h[h < np.finfo(float).eps * h.max()] = 0
    h /= h.sum()
    y = np.zeros((x.shape[0] // ratio, x.shape[1] // ratio, x.shape[2]))
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            window = x[i * ratio : (i + 1) * ratio, j * ratio : (j + 1) * ratio]
            y[i, j] = (window * h[:, :, None]).sum((0, 1))
    return y, x, h


def global_regression(y, zl, v_z):
    """A2 by loops over pixels."""
    count, bands = zl.shape
    mean_y, mean_z = y.mean(0), zl.mean(0)
    c_ll, c_ly = np.zeros((bands, bands)), np.zeros((bands, y.shape[1]))
    for pixel in range(count):
        a = zl[pixel] - mean_z
        c_ll += np.outer(a, a) / count
        c_ly += np.outer(a, y[pixel] - mean_y) / count
    inverse = np.linalg.inv(c_ll + np.diag(v_z) / 4 + 1e-9 * np.trace(c_ll) / bands * np.eye(bands))
    return mean_y, mean_z, inverse @ c_ly


def window(sigma, i, j, shape):
    """Gaussian window around (i, j), sum 1 over an unbounded grid, cut at 4 sigma."""
    half = int(4 * sigma + 0.5)
    taps = np.exp(-(np.arange(-half, half + 1) ** 2) / (2 * sigma**2))
    taps /= taps.sum()
    out = np.zeros(shape)
    for a in range(shape[0]):
        for b in range(shape[1]):
            if abs(a - i) <= half and abs(b - j) <= half:
                out[a, b] = taps[a - i + half] * taps[b - j + half]
    return out


def local_coefficients(a, e0, penalty, lam, sigma, i, j):
    """A3 at one LR pixel: (G + w (diag + lam I))^-1 B."""
    g = window(sigma, i, j, a.shape[:2])
    gram = np.einsum("hw,hwa,hwb->ab", g, a, a)
    cross = np.einsum("hw,hwa,hwl->al", g, a, e0)
    left = gram + g.sum() * np.diag(np.concatenate([[0.0], penalty]) + lam)
    return np.linalg.solve(left, cross)


def sylvester_dense(y, z, mu, blur_matrix, e, response, v_y, v_z, prior):
    """The minimiser of the objective of `fuse` as one dense system; images as (pixels, bands)."""
    pixels, size = mu.shape
    left = np.zeros((pixels * size, pixels * size))
    right = np.zeros(pixels * size)
    ye = e.T @ np.diag(1 / v_y)
    a = np.kron(blur_matrix.T @ blur_matrix, ye @ e)
    left += a + np.kron(np.eye(pixels), response.T @ np.diag(1 / v_z) @ response + prior)
    right += (blur_matrix.T @ y @ ye.T).ravel()
    right += (z @ np.diag(1 / v_z) @ response + mu @ prior.T).ravel()
    return np.linalg.solve(left, right).reshape(pixels, size)
