"""Does an augmentor help ADASR? None, the official and the adversarial one, over seeds.

Each run trains `adasr` (schedule fast, blind) on a simulated pair. The guard of the method keeps
trained sensors only where held-out pixels like them better by more than 1 %; here the trained ones
are used in any case, so that the effect of the augmentor can be seen, and the guard's verdict is
printed beside it ("kept"). What the guard refuses gives the row of `none`.

    OMP_NUM_THREADS=1 python benchmarks/fuse_augmentors.py --data FOLDER --seeds 0,1,2 \\
        --columns jasper_ridge,jasper_ridge:30/40
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from fuse_quality import pair_of

from qr_cli.fuse import metrics, task
from qr_cli.fuse.methods import adasr
from qr_cli.fuse.raster import from_array
from qr_cli.fuse.recipe import Fuse
from qr_cli.fuse.selftest import assembled

SENSORS = {"jasper_ridge": "sentinel2a-10", "samson": "worldview2"}


def run(data: Path, name: str, level, augmentor: str, seed: int) -> dict[str, float | bool]:
    """Return PSNR, SAM and the errors of the sensors of one run."""
    pair = pair_of(data, name, SENSORS[name], 5, None, level, 0)
    kept: list[bool] = []
    guarded, guard = adasr.refine_sensors, adasr.PREFERENCE

    def always(*given):
        found, curves = guarded(*given), given[-1]
        held = [r["held_out"] for r in curves["sensors"] if r["event"] == "epoch"]
        kept.append(min(held) < guard * held[0])
        return found

    adasr.refine_sensors, adasr.PREFERENCE = always, np.inf
    try:
        recipe = Fuse.model_validate({
            "method": {"method": "adasr"}, "adasr": {"augmentor": augmentor}, "job": {"seed": seed},
        })  # fmt: skip
        fusion = task.fit(recipe, from_array(pair.y), from_array(pair.z))
    finally:
        adasr.refine_sensors, adasr.PREFERENCE = guarded, guard
    image = assembled(fusion)
    taps, truth = fusion.degradation.psf.taps, pair.psf.taps
    side = max(len(taps), len(truth))
    a, b = (np.pad(t, (side - len(t)) // 2) for t in (taps, truth))
    gain = fusion.scene.q_z / fusion.scene.q_y
    predicted = pair.reference @ (fusion.degradation.srf * gain)
    exact = pair.reference @ pair.srf
    return {
        "psnr": metrics.psnr_db(pair.reference, image),
        "sam": metrics.sam_deg(pair.reference, image),
        "psf_error": float(np.abs(a - b).max() / truth.max()),
        "srf_error": float(np.linalg.norm(predicted - exact) / np.linalg.norm(exact)),
        "kept": bool(kept and kept[0]),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--columns", default="jasper_ridge,jasper_ridge:30/40,samson,samson:30/40")
    given = parser.parse_args()
    for column in given.columns.split(","):
        name, _, text = column.partition(":")
        level = tuple(map(int, text.split("/"))) if text else None
        for augmentor in ("none", "official", "adversarial"):
            rows = []
            for seed in map(int, given.seeds.split(",")):
                rows.append(run(given.data, name, level, augmentor, seed))
                print(json.dumps({"column": column, "augmentor": augmentor, "seed": seed,
                                  **rows[-1]}), flush=True)  # fmt: skip
            mean = {k: np.mean([r[k] for r in rows]) for k in rows[0]}
            spread = {k: np.ptp([r[k] for r in rows]) for k in ("psnr", "sam", "psf_error")}
            print(f"{column:20s} {augmentor:12s} PSNR {mean['psnr']:.2f} +-{spread['psnr'] / 2:.2f}"
                  f"  SAM {mean['sam']:.3f} +-{spread['sam'] / 2:.3f}  PSF error "
                  f"{mean['psf_error']:.4f} +-{spread['psf_error'] / 2:.4f}  MSI of the SRF "
                  f"{mean['srf_error']:.2e}  kept {sum(r['kept'] for r in rows)} of {len(rows)}",
                  flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
