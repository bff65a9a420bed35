"""What a SUR-adapter is trained with: the official losses and ours.

Official (the authors' code): D(a, b; tau) of features, towards the keyword embedding and towards a
random projection of the language model's vector; plus the denoising error. Ours: the squared error
in units of the embedding's variance, and two cross-entropies that ask which keyword embedding, or
which teacher vector, belongs to which narrative. With squared error alone the template of keyword
prompts is learned and their content is not.
Shapes: B sequences, T tokens, d width of the text encoder, m width of the teacher.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def feature_kl(a: Tensor, b: Tensor, tau: float = 1.0) -> Tensor:
    """Return D(a, b; tau), the divergence KL(b || a) of softmaxes over features; a scalar.

    tau^2 / B  sum over batch, tokens and features of  p_b (log p_b - log p_a)

    Summed over the tokens, not averaged, as released. The student stands in `b`.

    Args:
        a: target, (B, T, d), or (B, 1, d) for all tokens alike.
        b: student, (B, T, d).
        tau: temperature.
    """
    log_a, log_b = F.log_softmax(a / tau, dim=-1), F.log_softmax(b / tau, dim=-1)
    return (log_b.exp() * (log_b - log_a)).sum() / len(b) * tau**2


def scaled_mse(out: Tensor, target: Tensor, var: Tensor | float) -> Tensor:
    """Return the mean squared error in units of the keyword embeddings' variance."""
    return F.mse_loss(out, target) / var


def info_nce(a: Tensor, b: Tensor, *, temperature: float, same: Tensor | None = None) -> Tensor:
    """Return the mean of two cross-entropies: which b belongs to each a, which a to each b.

    logits = normalize(a) normalize(b)^T / temperature; row i belongs to column i.

    Args:
        a: (B, m).
        b: (B, m).
        temperature: of the softmax.
        same: (B, B), pairs that are no negatives of each other though they are two rows.

    Returns:
        A scalar; 0 for fewer than two rows.
    """
    if len(a) < 2:
        return (a.sum() + b.sum()) * 0
    logits = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T / temperature
    if same is not None:
        off = ~torch.eye(len(a), dtype=torch.bool, device=a.device)
        logits = logits.masked_fill(same & off, -torch.inf)
    own = torch.arange(len(a), device=a.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def keyword_nce(
    out: Tensor, keyword: Tensor, mu: Tensor, *, temperature: float, same: Tensor | None = None
) -> Tensor:
    """Return `info_nce` of whole embeddings, ``(B, T, d)``, centred on the mean keyword one."""
    a, b = (out - mu).flatten(1), (keyword - mu).flatten(1)
    return info_nce(a, b, temperature=temperature, same=same)


def teacher_nce(
    t: Tensor,
    ends: Tensor,
    projected: Tensor,
    *,
    temperature: float,
    same: Tensor | None = None,
) -> Tensor:
    """Return `info_nce` of the mean query and the projected teacher vector of each narrative.

    Args:
        t: (B, T, d), narrative rows only.
        ends: (B,), positions of the end tokens; tokens before them are averaged.
        projected: (B, d), P l.
        temperature: of the softmax.
        same: (B, B), rows that are no negatives of each other.
    """
    before = torch.arange(t.shape[1], device=t.device) < ends.unsqueeze(1)
    mean = (t * before.unsqueeze(2)).sum(1) / before.sum(1, keepdim=True)
    return info_nce(mean - mean.mean(0), projected, temperature=temperature, same=same)


def denoising(
    prediction: Tensor,
    target: Tensor,
    *,
    snr: Tensor | None = None,
    gamma: float | None = None,
    velocity: bool = False,
) -> Tensor:
    """Return the U-Net's mean squared error.

    Args:
        prediction: what it says, (B, C, H, W).
        target: noise or velocity.
        snr: (B,), signal-to-noise ratio of each step; needed with `gamma`.
        gamma: weight each sample by min(snr, gamma) / snr, for velocities / (snr + 1).
        velocity: whether the target is a velocity.
    """
    if gamma is None:
        return F.mse_loss(prediction, target)
    assert snr is not None, "gamma needs snr"
    error = F.mse_loss(prediction, target, reduction="none").flatten(1).mean(1)
    return (error * snr.clamp(max=gamma) / (snr + 1 if velocity else snr)).mean()
