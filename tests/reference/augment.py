"""Pad, cut, mirror and normalise one image at a time, by slicing; from the definitions."""

import torch
from torch import Tensor


def crop_flip(
    image: Tensor, *, top: int, left: int, flip: bool, pad: int, crop: int
) -> Tensor:  # (3, H, W) uint8 -> (3, crop, crop) uint8
    channels, height, width = image.shape
    canvas = torch.zeros(channels, height + 2 * pad, width + 2 * pad, dtype=torch.uint8)
    canvas[:, pad : pad + height, pad : pad + width] = image
    window = canvas[:, top : top + crop, left : left + crop]
    return window.flip(2) if flip else window


def normalized(image: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    out = torch.empty(image.shape, dtype=torch.float64)
    for c in range(3):
        out[c] = (image[c].double() / 255 - mean[c]) / std[c]
    return out
