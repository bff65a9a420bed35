"""Pictures from prompts: the noise of each is its own, whatever it is drawn beside.

Shapes: B pictures, C latent channels, h x w latent and H x W picture size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from qr_cli.errors import UsageError
from qr_cli.generate.encode import encode


class Drawn(NamedTuple):
    """Pictures (B, H, W, 3) as uint8 on the CPU, and which the safety checker blacked out."""

    pictures: Tensor
    flagged: list[bool]


def noise(pipe: Any, seeds: Sequence[int], *, height: int, width: int) -> Tensor:
    """Return the latents that pictures start from, (B, C, h, w) in float32.

    Each is drawn on the CPU from a generator of its own seed: the same on every device, in every
    batch and process.
    """
    factor, channels = pipe.vae_scale_factor, pipe.unet.config.in_channels
    shape = (channels, height // factor, width // factor)
    return torch.stack(
        [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    )


@torch.no_grad()
def draw(
    pipe: Any,
    prompts: Sequence[str],
    negatives: Sequence[str],
    latents: Tensor,
    *,
    steps: int,
    guidance: float,
    clip_skip: int = 0,
) -> Drawn:
    """Draw one picture per prompt.

    Args:
        pipe: a Stable Diffusion pipeline, with or without an adapter attached.
        prompts: B of them.
        negatives: B of them; "" for none.
        latents: what they start from, of `noise`.
        steps: denoising steps.
        guidance: guidance scale; at 1 and below there is no unconditional half.
        clip_skip: text layers left out at the end.
    """
    texts: dict[str, Any] = {"prompt": list(prompts), "negative_prompt": list(negatives)}
    if clip_skip:  # the pipeline's own argument fails with transformers 5
        texts = {
            "prompt_embeds": encode(pipe, prompts, clip_skip=clip_skip),
            "negative_prompt_embeds": encode(pipe, negatives, clip_skip=clip_skip),
        }
    factor = pipe.vae_scale_factor
    height, width = (factor * side for side in latents.shape[-2:])
    done = pipe(
        **texts,
        latents=latents.to(pipe.device, pipe.unet.dtype),
        num_inference_steps=steps,
        guidance_scale=guidance,
        height=height,
        width=width,
        output_type="pt",
    )
    pixels = (255 * done.images.float()).round().to("cpu", torch.uint8).permute(0, 2, 3, 1)
    flagged = done.nsfw_content_detected or [False] * len(prompts)
    return Drawn(pixels, [bool(flag) for flag in flagged])


def picture_size(pipe: Any, height: int | None, width: int | None) -> tuple[int, int]:
    """Return height and width: those asked for, else those of the base.

    Raises:
        UsageError: one of them is no multiple of what a latent pixel stands for.
    """
    factor = pipe.vae_scale_factor
    own = pipe.unet.config.sample_size * factor
    for flag, value in (("--height", height), ("--width", width)):
        if value is not None and value % factor:
            below = max(factor, value // factor * factor)
            near = " or ".join(map(str, dict.fromkeys((below, value // factor * factor + factor))))
            raise UsageError(
                f"{flag}: should be a multiple of {factor}, got {value}", hint=f"{flag} {near}"
            )
    return height or own, width or own
