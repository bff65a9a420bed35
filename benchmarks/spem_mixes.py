"""SPEM's observation: do linear mixes of max and min pooling do as well as average pooling?

    python benchmarks/spem_mixes.py --out runs [--gate se] [--seeds 0,1,2] -- --data npz:DIR ...

The pooled vector u = share * max + (1 - share) * min over H, W of the map, the share fixed, stands
in the place of the mean; the gate is otherwise that of `--gate`: se, sigmoid(W2 relu(W1 u + c1) +
c2), or ie, sigmoid(w u + b). The first row is the module itself, average pooling. Flags after `--`,
resuming and the table are those of `attention_table.py`; without `--data`: `shapes`, 30 epochs.
The runs name their module by this file: `PYTHONPATH=benchmarks qr eval attention RUN` finds it.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import attention_table
from torch import Tensor

from qr_cli.attention.modules import ie, se
from qr_cli.attention.modules.contract import Ctx
from qr_cli.attention.modules.gate import spatial_max_min
from qr_cli.errors import QrError

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


class Mix:
    """What is pooled; the class it is mixed into says what the gate makes of it."""

    squeeze_kind = "max_min"

    def __init__(self, channels: int, *, share: float) -> None:
        super().__init__(channels)
        self.share = share

    def squeeze(self, f: Tensor) -> Tensor:
        return spatial_max_min(f)  # (B, 2, C)

    def logits(self, s: Tensor, ctx: Ctx | None = None) -> Tensor:
        largest, smallest = s.unbind(1)
        return super().logits(self.share * largest + (1 - self.share) * smallest, ctx)


class MixSE(Mix, se.SE):
    """The gate of se on a fixed mix of maximum and minimum."""


class MixIE(Mix, ie.IE):
    """The gate of ie on a fixed mix of maximum and minimum."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--gate", choices=("se", "ie"), default="se")
    parser.add_argument("--seeds", default="0,1,2")
    options, flags = attention_table.split(sys.argv[1:], parser)
    flags = {"data": "shapes", "epochs": 30} | flags
    here = str(Path(__file__).parent)  # the subprocesses import this file by its name
    os.environ["PYTHONPATH"] = os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])
    mixes = [f"spem_mixes:Mix{options.gate.upper()}(share={share})" for share in SHARES]
    seeds = attention_table.numbers(options.seeds)
    runs = attention_table.train([options.gate, *mixes], seeds, flags, options.out)
    attention_table.compare(runs, options.gate)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except QrError as error:
        sys.exit(f"{error.message}\n{error.hint or ''}".strip())
