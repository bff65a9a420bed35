"""Time and memory of `qr fuse` over the size of a scene: CPU per pixel, resident memory, threads.

Makes scenes of N x N MSI pixels (6 endmember spectra of 100 bands, smooth random abundances,
uint16, MSI of 10 bands at ratio 5), fuses each in a process of its own, and prints CPU seconds,
their ratio to the size before, and the largest resident memory.

    OMP_NUM_THREADS=1 python benchmarks/fuse_size.py --sizes 1000,2000,4000 --work FOLDER
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from qr_cli.fuse.formats.geotiff import TiffWriter

RATIO, BANDS, ENDMEMBERS, STRIP = 5, 100, 6, 500


def write_scene(folder: Path, size: int) -> None:
    """Write hsi.tif and msi.tif by strips; nothing is held whole."""
    generator = np.random.default_rng(3)
    wave = np.linspace(400, 2400, BANDS)
    spectra = gaussian_filter(generator.uniform(0.05, 0.6, (ENDMEMBERS, BANDS)), (0, 6))
    centers = np.linspace(450, 2300, 10)
    srf = np.exp(-(((wave[:, None] - centers) / 60) ** 2))
    srf /= srf.sum(0)
    seeds = [gaussian_filter(generator.standard_normal((40, 40)), 1) for _ in range(ENDMEMBERS)]
    fine = generator.standard_normal((ENDMEMBERS, 512, 512))
    fine = np.stack([gaussian_filter(f, 1.2) for f in fine])
    step = float(size) / 40
    hsi_about = {"transform": (50.0, 0.0, 5e5, 0.0, -50.0, 5e6), "crs": "EPSG:32631",
                 "wavelength_nm": wave, "scale": 1e-4, "nodata": None}  # fmt: skip
    msi_about = {"transform": (10.0, 0.0, 5e5, 0.0, -10.0, 5e6), "crs": "EPSG:32631",
                 "scale": 1e-4, "nodata": None}  # fmt: skip
    hsi = TiffWriter(folder / "hsi.tif", (size // RATIO, size // RATIO, BANDS), np.dtype("uint16"),
                     hsi_about, compress="none")  # fmt: skip
    msi = TiffWriter(folder / "msi.tif", (size, size, 10), np.dtype("uint16"), msi_about,
                     compress="none")  # fmt: skip
    columns = (np.arange(size) + 0.5) / step - 0.5
    for row in range(0, size, STRIP):
        rows = (np.arange(row, min(row + STRIP, size)) + 0.5) / step - 0.5
        weights = np.empty((len(rows), size, ENDMEMBERS))
        for index, seed in enumerate(seeds):
            smooth = _bilinear(seed, rows, columns)
            u = np.arange(row, row + len(rows)) % 512
            texture = fine[index][u[:, None], np.arange(size) % 512]
            weights[..., index] = np.exp(3 * smooth + 2 * texture)
        weights /= weights.sum(-1, keepdims=True)
        low = weights.reshape(len(rows) // RATIO, RATIO, size // RATIO, RATIO, -1).mean((1, 3))
        noise = generator.standard_normal((*low.shape[:2], BANDS))
        hsi.write(row // RATIO, 0, _stored(low @ spectra + 2e-3 * noise))
        noise = generator.standard_normal((len(rows), size, 10))
        msi.write(row, 0, _stored(weights @ (spectra @ srf) + 1e-3 * noise))
    hsi.close(None)
    msi.close(None)


def _stored(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values / 1e-4), 0, 65535).astype(np.uint16)


def _bilinear(seed: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    def weights(at: np.ndarray) -> np.ndarray:
        at = np.clip(at, 0, len(seed) - 1.001)
        base = at.astype(int)
        out = np.zeros((len(at), len(seed)))
        out[np.arange(len(at)), base] = 1 - (at - base)
        out[np.arange(len(at)), base + 1] = at - base
        return out

    return weights(rows) @ seed @ weights(columns).T


def fuse(folder: Path, threads: int) -> dict:
    """Fuse a scene in a process of its own; return its record."""
    command = [
        sys.executable, "-m", "qr_cli", "fuse", "--hsi", str(folder / "hsi.tif"),
        "--msi", str(folder / "msi.tif"), "--out", str(folder / "fused.tif"), "--overwrite",
        "--compress", "none", "--threads", str(threads), "--json", "--no-report",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    (folder / "fused.tif").unlink()
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", default="1000,2000,4000")
    parser.add_argument("--work", required=True)
    parser.add_argument("--threads", default="1")
    given = parser.parse_args()
    before: tuple[int, float] | None = None
    for size in map(int, given.sizes.split(",")):
        folder = Path(given.work) / str(size)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "msi.tif").exists():
            write_scene(folder, size)
        for threads in map(int, given.threads.split(",")):
            record = fuse(folder, threads)
            line = f"{size} x {size}, {threads} threads: {record['cpu_seconds']:.0f} CPU-s, "
            line += f"{record['seconds']:.0f} s, {record['max_rss_mib']} MiB"
            if before is not None:
                ratio, pixels = record["cpu_seconds"] / before[1], (size / before[0]) ** 2
                line += f", {ratio:.2f} times the CPU for {pixels:g} times the pixels"
            print(line, flush=True)
        before = (size, record["cpu_seconds"])


if __name__ == "__main__":
    main()
