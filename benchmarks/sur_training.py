"""Samples per CPU second when a SUR-adapter is trained: the official loop and ours, tiny base.

    OMP_NUM_THREADS=1 python benchmarks/sur_training.py [--rounds 3] [--ffn 256]

A: as the authors' loop is built: per sample decode the picture, resize, VAE, text encoder on both
prompts, adapter, U-Net on the detached output, both divergences; batch 1, four of them an update.
B: ours from a filled cache, align phase, batch 32. C: ours with the diffusion loss, batch 32.
Arms take turns; medians of the rounds. Filling the cache is timed apart. On Stable Diffusion the
U-Net's gradient costs as much in C as in A: caching gains there in the align phase only.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median

import torch

from qr_cli.api import by_name
from qr_cli.engine.resolve import resolve
from qr_cli.generate.base import load_base
from qr_cli.generate.collect import write_tiny
from qr_cli.generate.encode import encode
from qr_cli.generate.losses import feature_kl
from qr_cli.generate.pictures import load_picture
from qr_cli.generate.recipe import SurTrain
from qr_cli.generate.surd import read_surd
from qr_cli.generate.task import SurTask

WEIGHT = 1e-5


class Official:
    """Arm A: nothing is kept from one sample to the next."""

    def __init__(self, surd: Path, ffn: int) -> None:
        from diffusers import DDPMScheduler

        from qr_cli.generate.adapter import SURAdapter

        self.pipe = load_base("tiny")
        self.noise = DDPMScheduler.from_config(self.pipe.scheduler.config)
        self.rows = read_surd(surd, pictures=True)
        torch.manual_seed(0)
        self.adapter = SURAdapter(64, ffn_dim=ffn, attention_axis="batch")
        self.target = torch.randn(1, 1, 64)  # a projected vector of the teacher
        self.optimizer = torch.optim.AdamW(self.adapter.parameters(), lr=1e-5)
        self.at = 0

    def update(self) -> int:
        for _ in range(4):
            row = self.rows[self.at % len(self.rows)]
            self.at += 1
            pixels = load_picture(row.picture, 64)[None]
            latents = self.pipe.vae.encode(pixels).latent_dist.sample()
            noise = torch.randn_like(latents)
            step = torch.randint(1000, (1,))
            noisy = self.noise.add_noise(latents, noise, step)
            wanted = self.noise.get_velocity(latents, noise, step)
            out, t, _ = self.adapter(encode(self.pipe, row.texts[0]))
            keywords = encode(self.pipe, row.prompts[0])
            found = self.pipe.unet(noisy, step, out.detach()).sample
            loss = torch.nn.functional.mse_loss(found, wanted)
            loss = loss + WEIGHT * (feature_kl(keywords, out) + feature_kl(self.target, t))
            (loss / 4).backward()
        torch.nn.utils.clip_grad_norm_(self.adapter.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return 4


class Ours:
    """Arms B and C: the task's own batches and step."""

    def __init__(self, surd: Path, cache: Path, ffn: int, *, diffusion: bool) -> None:
        settings = {"data": str(surd), "cache": str(cache), "ffn": ffn, "eta": 1.0,
                    "resolution": 64, "dropout": 0.0, "joint": diffusion}  # fmt: skip
        self.task = SurTask(resolve(SurTrain, given=by_name(SurTrain, settings)))
        list(self.task.phases(None))
        self.parts = self.task.parts(rank=0, world=1)
        self.epoch = 0
        self.chunks = iter(())

    def update(self) -> int:
        chunk = next(self.chunks, None)
        if chunk is None:
            self.chunks, self.epoch = self.parts.train.epoch(self.epoch), self.epoch + 1
            chunk = next(self.chunks)
        (update,) = self.task.step(self.parts.models, chunk.batch)
        update.loss.backward()
        optimizer = self.parts.optimizers["main"]
        torch.nn.utils.clip_grad_norm_(self.task.student.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return chunk.samples


def rate(arm: Official | Ours, seconds: float) -> float:
    """Return samples per CPU second over about so many seconds."""
    samples, started = 0, time.process_time()
    while (spent := time.process_time() - started) < seconds:
        samples += arm.update()
    return samples / spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--ffn", type=int, default=256)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        surd, cache = Path(folder) / "surd", Path(folder) / "cache"
        write_tiny(surd)
        started = time.process_time()
        aligned = Ours(surd, cache, args.ffn, diffusion=False)
        filled = time.process_time() - started
        arms = {
            "A official structure": Official(surd, args.ffn),
            "B ours, align": aligned,
            "C ours, diffusion": Ours(surd, cache, args.ffn, diffusion=True),
        }
        for arm in arms.values():
            rate(arm, 1.0)  # warm-up
        rounds = [{name: rate(arm, args.seconds) for name, arm in arms.items()}
                  for _ in range(args.rounds)]  # fmt: skip
    print(f"filling the cache (2,400 rows, once): {filled:.1f} CPU s\n")
    print("| arm | samples per CPU s | over A |")
    print("| --- | --- | --- |")
    for name in arms:
        ratio = median(r[name] / r["A official structure"] for r in rounds)
        print(f"| {name} | {median(r[name] for r in rounds):.0f} | {ratio:.1f} |")
    print(json.dumps({"ffn": args.ffn, "rounds": rounds}))


if __name__ == "__main__":
    main()
