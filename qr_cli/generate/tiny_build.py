"""Train the tiny base: digits, tints and keyword prompts; about 150 CPU seconds on one core.

The text encoder stays as it was drawn. The U-Net learns the velocity of the noised picture
(v-prediction) from keyword prompts only, an empty prompt one time in ten for guidance; what is
saved is the running mean of its weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from qr_cli.generate import tiny, world
from qr_cli.generate.digits import load_digits, paint, tint_table

Tick = Callable[[int, float], None]


def train(
    *, seed: int, steps: int, batch_size: int, lr: float, weight_decay: float, warmup: int,
    floor: float, clip_norm: float, empty_share: float, ema_decay: float, tick: Tick | None = None,
) -> tuple[Any, float]:  # fmt: skip
    """Return the trained base and the mean loss of its last 200 updates.

    Args:
        seed: of weights, batches and noise.
        steps: updates.
        batch_size: pictures per update.
        lr: peak learning rate.
        weight_decay: of AdamW.
        warmup: updates of the linear rise.
        floor: share of `lr` at the end of the cosine.
        clip_norm: of the gradient.
        empty_share: share of empty prompts.
        ema_decay: of the running mean of the weights, once it has run in.
        tick: hears every update: its number from 1, its loss.
    """
    pipe = tiny.pipeline(seed)
    draw = torch.Generator().manual_seed(seed)
    network = pipe.unet.train()
    kept = deepcopy(network).requires_grad_(False)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=lr, betas=(0.9, 0.99), weight_decay=weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: rate(n, steps, warmup, floor))
    texts = _Texts(pipe)
    losses: list[float] = []
    for step in range(steps):
        loss = _loss(pipe, texts, batch_size, empty_share, draw)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
        optimizer.step()
        schedule.step()
        _follow(kept, network, min(ema_decay, (step + 1) / (step + 10)))
        losses.append(float(loss.detach()))
        if tick:
            tick(step + 1, losses[-1])
    pipe.register_modules(unet=kept.eval())
    return pipe, sum(losses[-200:]) / len(losses[-200:])


class _Texts:
    """Embeddings of prompts, each encoded once."""

    def __init__(self, pipe: Any) -> None:
        self.pipe, self.known = pipe, dict[str, Tensor]()

    @torch.no_grad()
    def __call__(self, prompts: list[str]) -> Tensor:
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self.known]
        if new:
            words = self.pipe.tokenizer(
                new, padding="max_length", max_length=tiny.TOKENS, truncation=True,
                return_tensors="pt",
            )  # fmt: skip
            hidden = self.pipe.text_encoder(words.input_ids)[0]
            self.known.update(zip(new, hidden, strict=True))
        return torch.stack([self.known[prompt] for prompt in prompts])


def _loss(
    pipe: Any, texts: _Texts, count: int, empty_share: float, draw: torch.Generator
) -> Tensor:
    """Return the velocity error of one random batch."""
    grey, labels = load_digits("generator")
    which = torch.randint(len(labels), (count,), generator=draw)
    tints = torch.randint(len(world.TINTS), (count,), generator=draw)
    latents = 2 * paint(grey[which], tint_table()[tints]) - 1
    empty = torch.rand(count, generator=draw) < empty_share
    names = list(world.TINTS)
    prompts = [
        "" if skip else _prompt(int(digit), names[tint], draw)
        for digit, tint, skip in zip(labels[which], tints.tolist(), empty, strict=True)
    ]
    noise = torch.randn(latents.shape, generator=draw)
    times = torch.randint(pipe.scheduler.config.num_train_timesteps, (count,), generator=draw)
    noisy = pipe.scheduler.add_noise(latents, noise, times)
    target = pipe.scheduler.get_velocity(latents, noise, times)
    return mse_loss(pipe.unet(noisy, times, texts(prompts)).sample, target)


def _prompt(digit: int, tint: str, draw: torch.Generator) -> str:
    return world.keyword_prompt(world.base_head(digit, tint, draw), draw)


def rate(step: int, steps: int, warmup: int, floor: float) -> float:
    """Return the factor of the learning rate: a linear rise, then a cosine down to the floor."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


@torch.no_grad()
def _follow(kept: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the running mean of the weights."""
    torch._foreach_lerp_(list(kept.parameters()), list(network.parameters()), 1 - decay)
