"""Augmentors: networks that choose the transform under which PSF and SRF must still agree.

`official` (ADASR's code): Conv3d on Y, one angle; it **minimises** the transformed loss, whose
targets turn with it, so that it can hardly matter. `pointnet` (its figure; unused in the code):
1x1 convs, maximum over channels, an unbounded angle. `adversarial` (ours; what title, abstract and
figure say): sample-aware, a distribution over angle, shift and scale; it **maximises** a loss whose
corners are masked. What it raises is mostly the interpolation error of an LR image: no gain was
measured from any augmentor, and its weight is 0.1.
Shapes: y (1, L, h, w), z (1, l, H, W).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PARTS, NOISE = 8, 8  # leading components, dimensions of the draw
SHIFT, SCALE = 0.5, 0.1  # largest shift in LR pixels, largest log scale
INSIDE = 0.999
MAP = 48  # side of the pointnet's map


class Transform(NamedTuple):
    """A similarity: angle in radians, shift in LR pixels (rows, columns), log of the scale."""

    angle: Tensor
    shift: Tensor
    log_scale: Tensor


class Official(nn.Module):
    """Eight Conv3d with batch norm, global average, two linear layers, 3.14 tanh."""

    lowers = True

    def __init__(self, bands: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = bands
        for width in (64, 128, 256, 512):
            for stride in (1, 2):
                layers += [
                    nn.Conv3d(before, width, 3, stride=(1, stride, stride), padding=1),
                    nn.BatchNorm3d(width),
                    nn.LeakyReLU(0.2),
                ]
                before = width
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Linear(512, 1024), nn.LeakyReLU(0.2), nn.Linear(1024, 1))

    def forward(self, y: Tensor) -> Transform:
        """Return the transform for y (1, L, h, w)."""
        held = self.features(y[:, :, None]).mean((2, 3, 4))
        return rotation(3.14 * torch.tanh(self.head(held)).reshape(()))


class PointNet(nn.Module):
    """1x1 convs L -> 128 -> 256 -> 512, maximum over channels, two linear layers, 2 pi times."""

    lowers = True

    def __init__(self, bands: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = bands
        for width in (128, 256, 512):
            layers += [nn.Conv2d(before, width, 1), nn.BatchNorm2d(width), nn.Sigmoid()]
            before = width
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Linear(MAP * MAP, 512), nn.ReLU(), nn.Linear(512, 1))

    def forward(self, y: Tensor) -> Transform:
        """Return the transform for y (1, L, h, w)."""
        held = self.features(y).amax(1, keepdim=True)
        if held.shape[2:] != (MAP, MAP):
            held = F.adaptive_avg_pool2d(held, MAP)
        return rotation(2 * math.pi * self.head(held.flatten(1)).reshape(()))


class Adversarial(nn.Module):
    """Convolutions over the scene's leading components, joined with a draw; 35,012 parameters."""

    lowers = False

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(PARTS, 32, 3, padding=1), nn.GELU(),
            nn.Conv2d(32, 32, 3, stride=2, padding=1), nn.GELU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.GELU(),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Linear(64 + NOISE, 64), nn.GELU(), nn.Linear(64, 4))

    def forward(self, y: Tensor) -> Transform:
        """Return a drawn transform for y (1, L, h, w)."""
        held = self.features(components(y)).mean((2, 3))
        draw = torch.randn(1, NOISE, device=y.device, dtype=y.dtype)
        t = torch.tanh(self.head(torch.cat([held, draw], 1)))[0]
        return Transform(math.pi * t[0], SHIFT * t[1:3], SCALE * t[3])


AUGMENTORS: dict[str, type[nn.Module]] = {
    "official": Official,
    "pointnet": PointNet,
    "adversarial": Adversarial,
}


def rotation(angle: Tensor) -> Transform:
    """Return a pure rotation."""
    return Transform(
        angle, torch.zeros(2, device=angle.device), torch.zeros((), device=angle.device)
    )


@torch.no_grad()
def components(y: Tensor) -> Tensor:
    """Return the 8 leading principal components, each divided by its deviation, (1, 8, h, w)."""
    flat = y[0].flatten(1)
    centered = flat - flat.mean(1, keepdim=True)
    covariance = (centered @ centered.T / centered.shape[1]).double()
    values, vectors = torch.linalg.eigh(covariance)
    count = min(PARTS, len(values))
    leading = vectors[:, -count:].flip(1).to(y.dtype)
    scale = values[-count:].flip(0).clamp(min=1e-12).sqrt().to(y.dtype)
    held = (leading.T @ centered) / scale[:, None]
    out = y.new_zeros(1, PARTS, *y.shape[2:])
    out[0, :count] = held.view(count, *y.shape[2:])
    return out


def turned(image: Tensor, angle: Tensor) -> Tensor:
    """Rotate as the official code does: bilinear, zeros outside, angles in unit coordinates."""
    c, s, zero = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    theta = torch.stack([torch.stack([c, -s, zero]), torch.stack([s, c, zero])])[None]
    grid = F.affine_grid(theta.to(image.dtype), list(image.shape), align_corners=False)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def sampled(image: Tensor, t: Transform, low: tuple[int, int], mode: str = "bicubic") -> Tensor:
    """Transform an image of either grid; angles keep their size for h != w.

    theta = [[c, -s h/w, 2 dx/w], [s w/h, c, 2 dy/h]], (c, s) = exp(log scale)(cos, sin); the shift
    is in LR pixels, so the same theta serves both grids.
    """
    h, w = low
    scale = torch.exp(t.log_scale)
    c, s = scale * torch.cos(t.angle), scale * torch.sin(t.angle)
    dy, dx = t.shift[0], t.shift[1]
    theta = torch.stack(
        [
            torch.stack([c, -s * h / w, 2 * dx / w]),
            torch.stack([s * w / h, c, 2 * dy / h]),
        ]
    )[None]
    grid = F.affine_grid(theta.to(image.dtype), list(image.shape), align_corners=False)
    return F.grid_sample(image, grid, mode=mode, padding_mode="zeros", align_corners=False)


@torch.no_grad()
def inside(t: Transform, low: Tensor, high: Tensor, ratio: int) -> Tensor:
    """Return the LR pixels (1, 1, h, w) whose transformed surroundings are all valid.

    Args:
        t: the transform.
        low: valid LR pixels (1, 1, h, w), as numbers.
        high: valid HR pixels (1, 1, H, W), as numbers.
        ratio: s.
    """
    size = (low.shape[2], low.shape[3])
    a = sampled(low, t, size, "bilinear") > INSIDE
    b = F.avg_pool2d(sampled(high, t, size, "bilinear"), ratio) > INSIDE
    bad = 1 - (a & b).to(low.dtype)
    return F.max_pool2d(F.pad(bad, [1] * 4, value=1), 3, stride=1) < 0.5
