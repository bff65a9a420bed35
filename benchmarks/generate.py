"""What the adapter adds to the time of a picture: its share of a whole generation.

The tiny base, one picture, 12 steps, guidance on; CPU time of this process, medians of the rounds.
Bar: below 2 %. A second adapter with the inner width of the published one (2,048) stands beside.

    OMP_NUM_THREADS=1 python benchmarks/generate.py [--rounds 30]
"""

import argparse
import statistics
import time

import torch

from qr_cli.generate.adapter import SURAdapter
from qr_cli.generate.attach import attach
from qr_cli.generate.base import load_base
from qr_cli.generate.draw import draw, noise
from qr_cli.generate.encode import encode
from qr_cli.generate.folder import find_adapter

PROMPT = "a number for the legs of a spider in the same colour as milk"


def cpu(work) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    pipe = load_base("tiny")
    latents = noise(pipe, [0], height=64, width=64)
    wide = SURAdapter(64, ffn_dim=2048, eta=1.0, max_tokens=32)
    print(f"{'adapter':10} {'inner':>6} {'adapter ms':>11} {'picture ms':>11} {'share':>7}")
    for name, adapter in (("tiny", find_adapter("tiny")), ("wide", wide)):
        attached = attach(pipe, adapter)
        positive, negative = encode(pipe, PROMPT), encode(pipe, "")

        def alone(attached=attached, positive=positive, negative=negative) -> None:
            with torch.no_grad():
                attached.adapt(positive, negative)

        def whole() -> None:
            draw(pipe, [PROMPT], [""], latents, steps=12, guidance=3.0)

        alone(), whole()
        pairs = [(cpu(alone), cpu(whole)) for _ in range(rounds)]
        part, total = (1e3 * statistics.median(column) for column in zip(*pairs, strict=True))
        share = statistics.median(a / b for a, b in pairs)
        inner = adapter.config["ffn_dim"]
        print(f"{name:10} {inner:6d} {part:11.2f} {total:11.1f} {100 * share:6.2f}%")
        attached.detach()


if __name__ == "__main__":
    main()
