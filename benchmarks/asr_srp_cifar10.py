"""Re-parameterization blocks on CIFAR-10, with and without ASR(SE) on top, over seeds.

    python benchmarks/asr_srp_cifar10.py RUN...                     # measure runs that are trained
    python benchmarks/asr_srp_cifar10.py --data DIR [--small] [--srp repvgg ...]

Everything else as in `asr_cifar10.py`, which does the work.
"""

from __future__ import annotations

import argparse

from asr_cifar10 import report, train

FAMILIES = ("repvgg", "acnet", "dbb", "mobileone", "orepa")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*")
    parser.add_argument("--data", help="folder of the JPEG packs; trains first")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--srp", nargs="+", default=FAMILIES)
    parser.add_argument("--out", default="runs")
    arguments = parser.parse_args()
    kinds = [(srp, module) for srp in arguments.srp for module in ("none", "asr(se)")]
    report(arguments.runs or train(arguments, [(None, "none"), *kinds]))


if __name__ == "__main__":
    main()
