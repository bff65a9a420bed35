"""Train the tiny base: digits, tints and keyword prompts; about 150 CPU seconds on one core.

The text encoder stays as it was drawn. The U-Net learns the velocity of the noised picture
(v-prediction) from keyword prompts only, an empty prompt one time in ten for guidance; what is
saved is the running mean of its weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from qr_cli.generate import tiny, world
from qr_cli.generate.digits import load_digits, paint, tint_table


@dataclass(frozen=True)
class Training:
    """How the U-Net is trained."""

    steps: int = 1200
    batch_size: int = 64
    lr: float = 2e-3
    weight_decay: float = 0.01
    warmup: int = 100
    floor: float = 0.02  # of lr, at the end of the cosine
    clip_norm: float = 1.0
    empty_share: float = 0.1
    ema_decay: float = 0.998


AS_SHIPPED = Training()
Tick = Callable[[int, float], None]


def train(seed: int = 0, how: Training = AS_SHIPPED, tick: Tick | None = None) -> tuple[Any, float]:
    """Return the trained base and the mean loss of its last 200 updates.

    `tick` hears every update: its number from 1, its loss.
    """
    pipe = tiny.pipeline(seed)
    draw = torch.Generator().manual_seed(seed)
    network = pipe.unet.train()
    kept = deepcopy(network).requires_grad_(False)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=how.lr, betas=(0.9, 0.99), weight_decay=how.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: _rate(n, how))
    texts = _Texts(pipe)
    losses: list[float] = []
    for step in range(how.steps):
        loss = _loss(pipe, texts, how, draw)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), how.clip_norm)
        optimizer.step()
        schedule.step()
        _follow(kept, network, min(how.ema_decay, (step + 1) / (step + 10)))
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


def _loss(pipe: Any, texts: _Texts, how: Training, draw: torch.Generator) -> Tensor:
    """Return the velocity error of one random batch."""
    count = how.batch_size
    grey, labels = load_digits("generator")
    which = torch.randint(len(labels), (count,), generator=draw)
    tints = torch.randint(len(world.TINTS), (count,), generator=draw)
    latents = 2 * paint(grey[which], tint_table()[tints]) - 1
    empty = torch.rand(count, generator=draw) < how.empty_share
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


def _rate(step: int, how: Training) -> float:
    """Return the factor of the learning rate: a linear rise, then a cosine down to the floor."""
    if step < how.warmup:
        return (step + 1) / how.warmup
    done = (step - how.warmup) / max(1, how.steps - how.warmup)
    return how.floor + (1 - how.floor) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


@torch.no_grad()
def _follow(kept: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the running mean of the weights."""
    torch._foreach_lerp_(list(kept.parameters()), list(network.parameters()), 1 - decay)
