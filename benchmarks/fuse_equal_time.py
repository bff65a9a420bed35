"""`auto` and `adasr` against the published schedule of ADASR at the same CPU time.

The published schedule (official networks and augmentor, targets from the true PSF and SRF, which
the others are not given) gets a budget of CPU-seconds, 20 % of it for stage 1; the number of
iterations is found from a short run, and the decay is scaled to it. Clean scenes, one seed.

    OMP_NUM_THREADS=1 python benchmarks/fuse_equal_time.py --data FOLDER --budget 60
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from fuse_quality import figures, pair_of, shown

from qr_cli.fuse import task
from qr_cli.fuse.raster import from_array
from qr_cli.fuse.recipe import Fuse
from qr_cli.fuse.selftest import assembled

SCENES = {"jasper_ridge": "sentinel2a-10", "samson": "worldview2"}
TRIALS = ((2, 20), (6, 20), (2, 120))  # iterations of short runs: differences are one stage alone
STAGE_ONE = 0.2  # of the budget


def timed(pair, work: Path, method: dict) -> tuple[np.ndarray, float]:
    """Return the fused image and the CPU seconds it took."""
    sensors = {}
    if method.get("adasr", {}).get("schedule") == "official":
        np.save(work / "psf.npy", pair.psf.taps)
        np.savetxt(work / "srf.csv", pair.srf, delimiter=",")
        sensors = {"psf": str(work / "psf.npy"), "srf": str(work / "srf.csv")}
    recipe = Fuse.model_validate({**method, "sensors": sensors})
    began = time.process_time()
    image = assembled(task.fit(recipe, from_array(pair.y), from_array(pair.z)))
    return image, time.process_time() - began


def official(iterations: tuple[int, int]) -> dict:
    return {"method": {"method": "adasr"}, "adasr": {
        "schedule": "official", "targets": "oracle", "augmentor": "official",
        "iterations": iterations}}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--budget", type=float, default=60)
    parser.add_argument("--work", type=Path, default=Path("."))
    given = parser.parse_args()
    for name, sensor in SCENES.items():
        pair = pair_of(given.data, name, sensor, 5, None, None, 0)
        base, more_one, more_two = (timed(pair, given.work, official(n))[1] for n in TRIALS)
        first = max((more_one - base) / (TRIALS[1][0] - TRIALS[0][0]), 1e-3)
        second = max((more_two - base) / (TRIALS[2][1] - TRIALS[0][1]), 1e-3)
        steps = (
            max(round(STAGE_ONE * given.budget / first), 4),
            max(round((1 - STAGE_ONE) * given.budget / second), 10),
        )
        runs = {
            f"published, {steps[0]} + {steps[1]} iterations": official(steps),
            "adasr fast": {"method": {"method": "adasr"}},
            "auto": {"method": {"method": "auto"}},
        }
        for label, method in runs.items():
            image, seconds = timed(pair, given.work, method)
            print(f"{name:14s} {label:40s} {shown(figures(pair.reference, image, 5))}"
                  f"  {seconds:.0f} CPU-s", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
