"""CPU time of reading, drawing and augmenting images, against fixed bars.

    OMP_NUM_THREADS=1 python benchmarks/attention_loader.py [--rounds 5] [--quick]

50,000 x 3 x 32 x 32 uint8 in memory, batch 128, one thread: an epoch of crop 4 + flip + normalise
in shuffled order, both memory formats; torchvision transforms image by image for comparison (2,000
images); the share of an epoch of ResNet-20 (40 steps); decoding a pack of 5,000 JPEGs of noise
blocks; 2,000 images of `shapes`. Medians of process time over the rounds, in alternating order.
Exit code 1 when a bar fails.
"""

import argparse
import io
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import cross_entropy
from torchvision.transforms import v2

from qr_cli.attention.augment import Fetch
from qr_cli.attention.backbones.cifar import create
from qr_cli.attention.data import ImageSet, read
from qr_cli.attention.shapes import shapes
from qr_cli.engine.loader import Loader

BATCH = 128
FIGURES = {"mean": (0.49, 0.48, 0.45), "std": (0.25, 0.24, 0.26)}


def cpu(call):
    """Seconds of process time of a call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def fetch(images, channels_last):
    return Fetch(images, augment="crop-flip", **FIGURES, train=True, channels_last=channels_last)


def epoch(images, channels_last, number):
    """One pass over all batches through the engine's loader."""
    loader = Loader(fetch(images, channels_last), len(images), batch_size=BATCH)
    for _ in loader.epoch(number):
        pass


def one_by_one(images, count):
    """The same with torchvision, image by image."""
    transform = v2.Compose(
        [
            v2.RandomCrop(32, padding=4),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(**FIGURES),
        ]
    )
    for start in range(0, count, BATCH):
        torch.stack([transform(image) for image in images.images[start : start + BATCH]])


def data_share(images, steps):
    """Share of the time of training steps that goes into batches (ResNet-20, channels_last)."""
    torch.manual_seed(0)
    net = create("resnet20", {}, 10).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    chunks = Loader(fetch(images, True), len(images), batch_size=BATCH).epoch(0)
    data, begin = 0.0, time.process_time()
    for _ in range(steps):
        start = time.process_time()
        x, y = next(chunks).batch
        data += time.process_time() - start
        optimizer.zero_grad()
        cross_entropy(net(x), y).backward()
        optimizer.step()
    return data / (time.process_time() - begin)


def write_pack(path, n):
    """A pack of `n` JPEGs 32x32, quality 75, of coarse noise."""
    shade = np.random.default_rng(0).integers(0, 256, (n, 8, 8, 3), np.uint8)
    pieces = []
    for block in shade:
        stream = io.BytesIO()
        image = Image.fromarray(block).resize((32, 32), Image.Resampling.BILINEAR)
        image.save(stream, "JPEG", quality=75)
        pieces.append(stream.getvalue())
    np.savez(
        path,
        data=np.frombuffer(b"".join(pieces), np.uint8),
        offset=np.cumsum([0, *map(len, pieces)]),
        y=np.arange(n) % 10,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a tenth of the images, one round")
    args = parser.parse_args()
    torch.set_num_threads(1)
    n, rounds = (5_000, 1) if args.quick else (50_000, args.rounds)
    pixels = torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8)
    images = ImageSet(pixels, torch.arange(n) % 10, tuple("abcdefghij"))
    seconds = {"contiguous": [], "channels_last": [], "one by one": [], "decode": [], "shapes": []}
    with tempfile.TemporaryDirectory() as folder:
        pack = Path(folder) / "pack.npz"
        write_pack(pack, n // 10)
        for number in range(rounds + 1):  # the first is a warm-up
            drawn = {
                "contiguous": cpu(lambda: epoch(images, False, number)),  # noqa: B023
                "channels_last": cpu(lambda: epoch(images, True, number)),  # noqa: B023
                "one by one": cpu(lambda: one_by_one(images, 2_000)),
                "decode": cpu(lambda: read(f"npz:{pack}", splits=("test",))),
                "shapes": cpu(lambda: shapes(2_000)),
            }
            for name, value in drawn.items():
                seconds[name] += [value] if number else []
    median = {name: statistics.median(values) for name, values in seconds.items()}
    share = data_share(images, 5 if args.quick else 40)
    rows = [
        ("crop-flip, contiguous", n / median["contiguous"], "images/CPU-s", 40_000, True),
        ("crop-flip, channels_last", n / median["channels_last"], "images/CPU-s", 40_000, True),
        ("torchvision, image by image", 2_000 / median["one by one"], "images/CPU-s", None, True),
        ("data share of a ResNet-20 epoch", 100 * share, "%", 3, False),
        ("decode 5,000 JPEGs", median["decode"] * 50_000 / n, "CPU-s", 0.6, False),
        ("shapes", median["shapes"] / 2, "ms/image", 1.0, False),
    ]
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, 1 thread, ", end=""
    )
    print(f"torch {torch.__version__}, median of {rounds}")
    print(f"{'what':34}{'figure':>12} {'unit':14}{'bar':>10}")
    failed = False
    for name, figure, unit, bar, at_least in rows:
        good = bar is None or (figure >= bar if at_least else figure <= bar)
        failed |= not good
        limit = "" if bar is None else f"{'>=' if at_least else '<='} {bar:,}"
        verdict = "" if bar is None else "pass" if good else "FAIL"
        print(f"{name:34}{figure:>12,.2f} {unit:14}{limit:>10} {verdict}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
