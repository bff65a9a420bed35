"""What MEP and joint training are worth to the small network, on a few families, over seeds.

    OMP_NUM_THREADS=1 python benchmarks/geo_ablation.py --out runs [--samples 6000] [--seeds 0,1,2]

Every row trains from nothing on the same number of generated problems without diagrams, with one
switch changed; `full` has a tenth of them as MEP and shares the rest between calculations and
proofs. All are scored on the same 300 fresh problems of each kind and split. A row that is in the
table already is not run again. The last table gives means over the seeds and, in brackets, the
difference to `full` with its standard error over paired seeds.
"""

import argparse
import json
import subprocess
import sys
from math import sqrt
from pathlib import Path
from statistics import mean, stdev

ROWS = {  # name -> flags
    "full": ["--phases", "mep,unified", "--mix", "1,1,0"],
    "no MEP": ["--phases", "unified", "--mix", "1,1,0"],
    "calculation only": ["--phases", "mep,unified", "--mix", "0,1,0"],
    "proving only": ["--phases", "mep,unified", "--mix", "1,0,0"],
}
CALCULATIONS = (
    "triangle-sum,base-from-apex,apex-from-base,acute-angles,"
    "segment-sum,segment-rest,hypotenuse,leg"
)
PROOFS = "proof-22-14-13-6,proof-14-30-6,proof-14-0-6,proof-4-15,proof-33-11,proof-14-21"
COMMON = (
    "--families", f"{CALCULATIONS},{PROOFS}", "--no-vision", "--aux", "0", "--marks", "0",
    "--lr", "0.0015", "--warmup", "40", "--ema", "0.98", "--epochs", "1", "--eval-samples", "4",
    "--quiet", "--overwrite",
)  # fmt: skip
SPLITS = ("seen", "unseen")


def qr(*words: str) -> str:
    """Return what a command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "qr_cli", *words], check=True, capture_output=True, text=True
    )
    return done.stdout


def tests(out: Path) -> dict[str, Path]:
    """Return the problems that all rows are scored on, by split and kind; made once."""
    found = {}
    for split in SPLITS:
        for kind, families in (("calculation", CALCULATIONS), ("proving", PROOFS)):
            folder = found[f"{split} {kind}"] = out / f"{split}-{kind}"
            if not folder.exists():
                qr(
                    "data", "geo", "make", "--n", "300", "--seed", "5", "--split", split,
                    "--families", families, "--diagrams", "none", "--out", str(folder),
                )  # fmt: skip
    return {name: folder / "problems.jsonl" for name, folder in found.items()}


def row(name: str, seed: int, samples: int, out: Path) -> dict[str, object]:
    """Train one row and return its figures, per cent."""
    run = f"{name.replace(',', '').replace(' ', '-').lower()}-s{seed}"
    folder = qr(
        "train", "geo", "--recipe", "tiny", *COMMON, *ROWS[name], "--samples", str(samples),
        "--seed", str(seed), "--name", run, "--out", str(out),
    ).strip()  # fmt: skip
    figures: dict[str, object] = {"row": name, "seed": seed, "samples": samples}
    for what, file in tests(out).items():
        told = qr(
            "eval", "geo", str(file), "--solver", "network", "--beams", "1",
            "--checkpoint", folder, "--json",
        )  # fmt: skip
        line = json.loads(told.splitlines()[-1])
        figures[what] = 100 * line["acc" if "calculation" in what else "valid"]
    return figures


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=6_000)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--rows", default=",".join(ROWS), help="some of: %(default)s")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    table = asked.out / "geo_ablation.jsonl"
    done = [json.loads(line) for line in table.read_text().splitlines()] if table.exists() else []
    seeds = [int(s) for s in asked.seeds.split(",")]
    names = asked.rows.split(",")
    for seed in seeds:
        for name in names:
            if not any(d["row"] == name and d["seed"] == seed for d in done):
                done.append(row(name, seed, asked.samples, asked.out))
                with table.open("a") as file:
                    file.write(json.dumps(done[-1]) + "\n")
    keys = [k for k in done[0] if k not in ("row", "seed", "samples")]
    print(f"{'':<26}" + "".join(f"{k:>22}" for k in keys))
    for name in names:
        cells = []
        for key in keys:
            own = {d["seed"]: d[key] for d in done if d["row"] == name}
            full = {d["seed"]: d[key] for d in done if d["row"] == "full"}
            gaps = [own[s] - full[s] for s in seeds]
            error = stdev(gaps) / sqrt(len(gaps)) if len(gaps) > 1 else float("nan")
            cells.append(f"{mean(own.values()):.1f} ({mean(gaps):+.1f} ± {error:.1f})")
        print(f"{name:<26}" + "".join(f"{c:>22}" for c in cells))


if __name__ == "__main__":
    main()
