"""The frozen U-Net as a teacher: how well it removes noise when it reads an adapted prompt.

Shapes: B pictures, C channels and h, w sides of a latent, T tokens, d width.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from qr_cli.generate.cache import Store, cached_latents
from qr_cli.generate.fingerprints import weights_digest
from qr_cli.generate.losses import denoising
from qr_cli.generate.parts import load_parts

_KINDS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Denoiser:
    """U-Net, noise schedule and latents of the training pictures.

    Args:
        base: the base folder.
        pictures: of the training rows, in their order.
        root: the folder of caches.
        resolution: side of a picture in pixels.
        flip: whether mirrored pictures are there too.
        dtype: of the cache.
        device: where the VAE computes.
        precision: "fp32", "bf16" or "fp16", of the U-Net.
    """

    def __init__(
        self,
        base: str,
        pictures: Sequence[Path],
        *,
        root: Path,
        resolution: int,
        flip: bool,
        dtype: str,
        device: torch.device,
        precision: str = "fp32",
    ) -> None:
        vae, self.unet, scheduler = load_parts(base, "vae", "unet", "scheduler")
        self.kind = _KINDS[precision]
        self.scaling = float(vae.config.scaling_factor)
        folder = cached_latents(
            root,
            vae.to(device),
            f"{type(vae).__name__} {weights_digest(vae)}",
            pictures,
            resolution=resolution,
            flip=flip,
            dtype=dtype,
        )
        self.scheduler = DDPMScheduler.from_config(scheduler.config)  # the noise of training
        self.velocity = scheduler.config.prediction_type == "v_prediction"
        self.mean, self.logvar = Store(folder, "mean"), Store(folder, "logvar")

    def latents(self, pictures: Tensor) -> dict[str, Tensor]:
        """Return mean and log-variance of pictures by number, for a batch."""
        return {"mean": self.mean[pictures], "logvar": self.logvar[pictures]}

    def loss(
        self,
        mean: Tensor,
        logvar: Tensor,
        prompts: Tensor,
        *,
        gamma: float | None = None,
        offset: float = 0.0,
    ) -> Tensor:
        """Return the U-Net's error with fresh noise at random steps; a scalar.

        Args:
            mean: of the latents, (B, C, h, w).
            logvar: likewise.
            prompts: what conditions the U-Net, (B, T, d).
            gamma: see `losses.denoising`.
            offset: share of noise that is equal for all pixels of a channel.
        """
        self.unet.to(mean.device)
        latents = (mean + (0.5 * logvar).exp() * torch.randn_like(mean)) * self.scaling
        noise = torch.randn_like(latents)
        if offset:
            noise = noise + offset * torch.randn_like(latents[:, :, :1, :1])
        count = self.scheduler.config.num_train_timesteps
        steps = torch.randint(count, (len(latents),), device=latents.device)
        noisy = self.scheduler.add_noise(latents, noise, steps)
        target = noise
        if self.velocity:
            target = self.scheduler.get_velocity(latents, noise, steps)
        kind = self.kind or torch.float32
        with torch.autocast(mean.device.type, kind, enabled=self.kind is not None):
            prediction = self.unet(noisy, steps, prompts).sample
        alpha = self.scheduler.alphas_cumprod.to(latents.device)[steps]
        return denoising(
            prediction.float(),
            target,
            snr=alpha / (1 - alpha),
            gamma=gamma,
            velocity=self.velocity,
        )
