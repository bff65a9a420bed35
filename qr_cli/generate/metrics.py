"""Figures of pictures, of text embeddings and of paired comparisons: pure functions.

Shares and cosines are fractions. Shapes: N prompts, T tokens, d width, K candidates, B resamples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import conv2d, cosine_similarity, normalize

_LUMA = (0.299, 0.587, 0.114)
_HEAD = 5  # positions a canonical prompt fills: start, tint, "digit", word, end


# paired comparisons ----------------------------------------------------------------------------


class Paired(NamedTuple):
    """A difference over prompts: its mean, its 95 % interval, who won, the sign test.

    Attributes:
        difference: mean of treated minus control.
        low: 2.5th percentile over resamples of prompts; None below ten prompts.
        high: 97.5th percentile.
        win: prompts on which treated is larger.
        tie: prompts on which both are equal.
        loss: prompts on which control is larger.
        sign_p: exact two-sided sign test on the prompts that differ; 1 if none does.
    """

    difference: float
    low: float | None
    high: float | None
    win: int
    tie: int
    loss: int
    sign_p: float


def paired(treated: Tensor, control: Tensor, *, resamples: int = 10_000, seed: int = 0) -> Paired:
    """Compare two figures per prompt, (N,) and (N,); seeds are to be averaged before."""
    apart = treated.double() - control.double()
    low, high = (
        interval(apart, resamples=resamples, seed=seed) if len(apart) >= 10 else (None, None)
    )
    win, loss = int((apart > 1e-9).sum()), int((apart < -1e-9).sum())
    tie = len(apart) - win - loss
    return Paired(float(apart.mean()), low, high, win, tie, loss, sign_test(win, loss))


def interval(values: Tensor, *, resamples: int = 10_000, seed: int = 0) -> tuple[float, float]:
    """Return the percentile 95 % interval of the mean of (N,) values over resampled prompts."""
    draw = torch.Generator().manual_seed(seed)
    values = values.double()
    means = torch.empty(resamples, dtype=torch.float64)
    for start in range(0, resamples, 1000):  # 1,000 x N indices at a time
        count = min(1000, resamples - start)
        picks = torch.randint(len(values), (count, len(values)), generator=draw)
        means[start : start + count] = values[picks].mean(1)
    low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


def sign_test(win: int, loss: int) -> float:
    """Return the exact two-sided p of `win` against `loss` under a fair coin."""
    total = win + loss
    tail = sum(math.comb(total, k) for k in range(min(win, loss) + 1))
    return min(1.0, 2 * tail / 2**total)


def gap_closed(adapter: float, base: float, keyword: float) -> float | None:
    """Return (adapter - base) / (keyword - base); None where the gap is below 0.05."""
    gap = keyword - base
    return (adapter - base) / gap if gap >= 0.05 else None


# text embeddings -------------------------------------------------------------------------------


def retrieval(embedded: Tensor, keywords: Tensor, prompts: Sequence[str]) -> float:
    """Return the share of (N, T, d) embeddings whose nearest keyword embedding is their own.

    Nearest by the cosine of flattened embeddings, centred on the mean of the keyword embeddings;
    a prompt of the same wording counts as right.
    """
    mean = keywords.mean(0)
    rows = normalize((embedded - mean).flatten(1), dim=1)
    columns = normalize((keywords - mean).flatten(1), dim=1)
    nearest = (rows @ columns.T).argmax(1).tolist()
    right = [prompts[found] == own for found, own in zip(nearest, prompts, strict=True)]
    return sum(right) / len(right)


def nearest_labels(embedded: Tensor, candidates: Tensor) -> Tensor:
    """Return per (N, T, d) embedding the nearest of (K, T, d): L2 over the first five positions."""
    return torch.cdist(embedded[:, :_HEAD].flatten(1), candidates[:, :_HEAD].flatten(1)).argmin(1)


def before_end(values: Tensor, lengths: Tensor) -> Tensor:
    """Return the mean of (N, T) values over the first (N,) `lengths` tokens, (N,)."""
    inside = torch.arange(values.shape[1], device=values.device) < lengths[:, None]
    return (values * inside).sum(1) / inside.sum(1)


def cosine(embedded: Tensor, target: Tensor, lengths: Tensor) -> float:
    """Return the mean cosine of tokens of (N, T, d) up to the end token of the target."""
    return float(before_end(cosine_similarity(embedded, target, dim=2), lengths).mean())


def distance(embedded: Tensor, target: Tensor, lengths: Tensor) -> float:
    """Return the mean L2 distance of tokens of (N, T, d) up to the end token of the target."""
    return float(before_end((embedded - target).norm(dim=2), lengths).mean())


def norm_ratio(adapted: Tensor, original: Tensor) -> float:
    """Return the mean of |adapted| / |original| over the tokens of (N, T, d)."""
    return float((adapted.norm(dim=2) / original.norm(dim=2).clamp_min(1e-12)).mean())


# pictures --------------------------------------------------------------------------------------


def sharpness(pictures: Tensor) -> Tensor:
    """Return per picture the variance of the 3x3 Laplacian of luma in 0..255.

    (N, 3, H, W) in [0, 1] -> (N,); the border, where the filter does not fit, is left out.
    """
    weights = pictures.new_tensor(_LUMA, dtype=torch.float64)
    luma = 255 * (pictures.double() * weights[:, None, None]).sum(1, keepdim=True)
    kernel = luma.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    return conv2d(luma, kernel).flatten(1).var(1, correction=0)


def colourfulness(pictures: Tensor) -> Tensor:
    """Return per picture the measure of Hasler and Suesstrunk (2003), of values in 0..255.

    sqrt(s_rg^2 + s_yb^2) + 0.3 sqrt(m_rg^2 + m_yb^2), rg = R - G, yb = (R + G) / 2 - B.
    (N, 3, H, W) in [0, 1] -> (N,), 0 for grey.
    """
    red, green, blue = (255 * pictures.double()).unbind(1)
    rg, yb = (red - green).flatten(1), ((red + green) / 2 - blue).flatten(1)
    spread = torch.hypot(rg.std(1, correction=0), yb.std(1, correction=0))
    return spread + 0.3 * torch.hypot(rg.mean(1), yb.mean(1))


def clipped(pictures: Tensor) -> Tensor:
    """Return per picture the share of values at 0 or 255: (N, 3, H, W) in [0, 1] -> (N,)."""
    levels = (255 * pictures.double()).round()
    return ((levels <= 0) | (levels >= 255)).double().flatten(1).mean(1)


def clip_score(pictures: Tensor, texts: Tensor) -> Tensor:
    """Return 100 max(cos, 0) of picture and text features, (N, d) and (N, d) -> (N,)."""
    return 100 * cosine_similarity(pictures.double(), texts.double(), dim=1).clamp_min(0)
