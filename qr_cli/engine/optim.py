"""Optimisers and learning-rate schedules by name, from plain arguments (torch's own classes)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR


def build_optimizer(
    name: str,
    parameters: Iterable[nn.Parameter],
    *,
    lr: float,
    momentum: float = 0.9,
    nesterov: bool = True,
    weight_decay: float = 0.0,
    decay: str = "all",
    scaled: Iterable[nn.Parameter] = (),
    scale: float = 1.0,
) -> Optimizer:
    """Build an optimiser.

    Args:
        name: "sgd", "adam" or "adamw".
        parameters: those trained at `lr`.
        lr: peak learning rate.
        momentum: of sgd; Nesterov needs it above 0.
        nesterov: of sgd.
        weight_decay: of the decayed parameters.
        decay: "all", or "weights" for those with two or more dimensions.
        scaled: parameters trained at ``scale * lr``.
        scale: their factor.
    """
    groups: list[dict[str, Any]] = []
    for members, rate in ((list(parameters), lr), (list(scaled), scale * lr)):
        exempt = [p for p in members if decay == "weights" and p.ndim < 2]
        taken = {id(p) for p in exempt}
        decayed = [p for p in members if id(p) not in taken]
        if decayed:
            groups.append({"params": decayed, "lr": rate, "weight_decay": weight_decay})
        if exempt:
            groups.append({"params": exempt, "lr": rate, "weight_decay": 0.0})
    if name == "sgd":
        return SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov and momentum > 0)
    return {"adam": Adam, "adamw": AdamW}[name](groups, lr=lr)


def build_schedule(
    name: str,
    optimizer: Optimizer,
    *,
    total_steps: int,
    epoch_steps: int,
    milestones: Iterable[int] = (),
    gamma: float = 0.1,
    warmup_epochs: float = 0.0,
    floor: float = 0.0,
) -> LRScheduler:
    """Build a schedule that moves once per update.

    Args:
        name: "onecycle" (20 % cosine rise from lr/10, cosine fall to lr/10^4, momentum
            0.95 -> 0.85 -> 0.95), "cosine" and "linear" (to 0), "multistep" (times `gamma` at the
            start of each epoch of `milestones`, counted from 0) or "constant".
        optimizer: whose rates are scaled.
        total_steps: updates of the whole run.
        epoch_steps: updates of an epoch.
        milestones: of multistep.
        gamma: of multistep.
        warmup_epochs: linear rise from lr/warm-up updates, not for onecycle.
        floor: share of the rate at which cosine ends.
    """
    if name == "onecycle":
        return OneCycleLR(
            optimizer,
            max_lr=[group["lr"] for group in optimizer.param_groups],
            total_steps=max(total_steps, 2),
            pct_start=0.2,
            div_factor=10,
            final_div_factor=1e3,
        )
    warmup = round(warmup_epochs * epoch_steps)
    drops = tuple(milestones)
    courses: dict[str, Callable[[int], float]] = {
        "constant": lambda step: 1.0,
        "linear": lambda step: 1 - _share(step, warmup, total_steps),
        "cosine": lambda step: (
            floor + (1 - floor) * (1 + math.cos(math.pi * _share(step, warmup, total_steps))) / 2
        ),
        "multistep": lambda step: gamma ** sum(step // epoch_steps >= drop for drop in drops),
    }
    course = courses[name]
    return LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / (warmup + 1)) * course(step))


def _share(step: int, start: int, end: int) -> float:
    """Return how much of the way from `start` to `end` is done, in [0, 1]."""
    return min(1.0, max(0.0, (step - start) / max(1, end - start)))
