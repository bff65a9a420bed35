"""The networks of ADASR and UDALN, as their code has them, and ours.

SpaD (PSF): one Conv2d(1, 1, s, stride s, no bias), applied to every band; starts at 1/s^2.
SpeD (SRF): per MSI band a weighting of the HSI bands of its range, divided by the sum of the
weights (detached); starts as a Gaussian over the index, sigma 3.5 bands.
SpeU (up): k = int(log2(L/l)) times [1x1 Conv2d (l 2^(i-1) -> l 2^i), LeakyReLU(0.2)], 1x1 Conv2d
to L, a final LeakyReLU(0.2). A function of one MSI pixel: it does not see the HSI when it is used.
Shapes: B batch, L HSI bands, l MSI bands, s ratio.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE, WIDTH_BANDS, HIDDEN = 0.2, 3.5, 64


class SpaD(nn.Module):
    """The PSF as a strided convolution, (1, B, s h, s w) -> (1, B, h, w)."""

    def __init__(self, ratio: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, ratio, stride=ratio, bias=False)
        nn.init.constant_(self.conv.weight, 1 / ratio**2)

    def forward(self, image: Tensor) -> Tensor:
        """Blur and decimate every band by itself."""
        return self.conv(image.transpose(0, 1)).transpose(0, 1)

    @torch.no_grad()
    def project(self) -> None:
        """Make the weights >= 0 with sum 1."""
        weight = self.conv.weight.clamp_(min=0)
        weight /= weight.sum().clamp(min=1e-12)


class SpeD(nn.Module):
    """The SRF by ranges, (1, L, h, w) -> (1, l, h, w).

    Args:
        ranges: first and last HSI band of each MSI band, inclusive.
    """

    def __init__(self, ranges: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.ranges = [(int(a), int(b) + 1) for a, b in ranges]
        self.convs = nn.ModuleList(nn.Conv2d(b - a, 1, 1, bias=False) for a, b in self.ranges)
        for weight_of, (a, b) in zip(self.weights(), self.ranges, strict=True):
            count = b - a
            place = torch.arange(count) - (count - 1) / 2
            weight = torch.exp(-(place**2) / (2 * WIDTH_BANDS**2))
            with torch.no_grad():
                weight_of.copy_((weight / weight.sum()).view(1, -1, 1, 1))

    def weights(self) -> list[Tensor]:
        """Return the weights of each range, (1, n, 1, 1)."""
        return list(self.convs.parameters())

    def forward(self, image: Tensor) -> Tensor:
        """Weigh the bands of each range."""
        parts = [
            F.conv2d(image[:, a:b], weight) / weight.sum().detach()
            for weight, (a, b) in zip(self.weights(), self.ranges, strict=True)
        ]
        return torch.cat(parts, 1)

    def table(self, bands: int) -> Tensor:
        """Return R (L, l), columns of sum 1."""
        out = torch.zeros(bands, len(self.ranges))
        for index, (held, (a, b)) in enumerate(zip(self.weights(), self.ranges, strict=True)):
            weight = held.detach().flatten()
            out[a:b, index] = weight / weight.sum()
        return out

    @torch.no_grad()
    def project(self) -> None:
        """Make the weights >= 0."""
        for weight in self.weights():
            weight.clamp_(min=0)


def spe_u(bands_z: int, bands_y: int) -> nn.Sequential:
    """Return SpeU, (1, l, H, W) -> (1, L, H, W)."""
    depth = int(math.log2(bands_y / bands_z))
    layers: list[nn.Module] = []
    for index in range(depth):
        width = bands_z * 2**index
        layers += [nn.Conv2d(width, 2 * width, 1), nn.LeakyReLU(SLOPE)]
    layers += [nn.Conv2d(bands_z * 2**depth, bands_y, 1), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers)


class Pixels(nn.Module):
    """SpeU for lists of pixels, (n, l) -> (n, L)."""

    def __init__(self, bands_z: int, bands_y: int) -> None:
        super().__init__()
        self.net = spe_u(bands_z, bands_y)

    def forward(self, z: Tensor) -> Tensor:
        """Map each pixel."""
        return self.net(z.T[None, :, :, None])[0, :, :, 0].T


class Residual(nn.Module):
    """x(z) = closed form + sd_y f((z - mean)/sd_z), (n, l) -> (n, L); f starts at zero (ours)."""

    mean_y: Tensor
    mean_z: Tensor
    sd_y: Tensor
    sd_z: Tensor
    w: Tensor

    def __init__(
        self, mean_y: Tensor, mean_z: Tensor, sd_y: Tensor, sd_z: Tensor, w: Tensor
    ) -> None:
        super().__init__()
        held = {"mean_y": mean_y, "mean_z": mean_z, "sd_y": sd_y, "sd_z": sd_z, "w": w}
        for name, value in held.items():
            self.register_buffer(name, value.float(), persistent=False)
        bands_z, bands_y = w.shape
        self.f = nn.Sequential(
            nn.Linear(bands_z, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, HIDDEN), nn.GELU(),
            nn.Linear(HIDDEN, bands_y),
        )  # fmt: skip
        for parameter in self.f[-1].parameters():
            nn.init.zeros_(parameter)

    def residual(self, z: Tensor) -> Tensor:
        """Return what the network adds to the closed form."""
        return self.sd_y * self.f((z - self.mean_z) / self.sd_z)

    def forward(self, z: Tensor) -> Tensor:
        """Map each pixel."""
        return self.mean_y + (z - self.mean_z) @ self.w + self.residual(z)


class FreeSensors(nn.Module):
    """PSF on the simplex and SRF >= 0, free to be learnt from a good start (ours, F1).

    Args:
        taps: (k, k), >= 0, sum 1.
        srf: (L, l), >= 0.
        offset: (l).
        ratio: s.
    """

    offset: Tensor

    def __init__(self, taps: Tensor, srf: Tensor, offset: Tensor, ratio: int) -> None:
        super().__init__()
        self.omega = nn.Parameter(torch.log(taps.float() + 1e-5))
        self.srf = nn.Parameter(srf.float().clone())
        self.register_buffer("offset", offset.float(), persistent=False)
        self.ratio, self.margin = ratio, (len(taps) - ratio) // 2

    def taps(self) -> Tensor:
        """Return the PSF (k, k)."""
        return torch.softmax(self.omega.flatten(), 0).view_as(self.omega)

    def response(self) -> Tensor:
        """Return the SRF (L, l)."""
        return self.srf.clamp(min=0)

    def spa_d(self, image: Tensor) -> Tensor:
        """Blur and decimate, (1, B, s h, s w) -> (1, B, h, w)."""
        padded = F.pad(image.transpose(0, 1), [self.margin] * 4, mode="replicate")
        return F.conv2d(padded, self.taps()[None, None], stride=self.ratio).transpose(0, 1)

    def spe_d(self, image: Tensor) -> Tensor:
        """Weigh the bands, (1, L, h, w) -> (1, l, h, w)."""
        out = torch.einsum("bLhw,Ll->blhw", image, self.response())
        return out + self.offset[:, None, None]
