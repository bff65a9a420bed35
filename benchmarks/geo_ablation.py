"""What MEP, the diagram, the auxiliary heads and joint training are worth, over seeds.

    OMP_NUM_THREADS=1 python benchmarks/geo_ablation.py --out runs [--samples 12000] [--seeds 0,1,2]

Every row trains the same number of samples, with one switch changed, and is scored on the same 300
fresh problems of each kind; a row that is in the table already is not run again. The last table
gives means over the seeds and the difference to `full` with its standard error over paired seeds.
"""

import argparse
import json
import subprocess
import sys
from math import sqrt
from pathlib import Path
from statistics import mean, stdev

ROWS = {  # name -> flags
    "full": [],
    "no MEP": ["--phases", "look,unified"],
    "calculation only": ["--mix", "0,2,1"],
    "proving only": ["--mix", "1,0,0"],
    "no vision": ["--no-vision", "--phases", "mep,unified"],
    "no auxiliary heads": ["--aux", "0", "--marks", "0", "--phases", "mep,unified"],
}
COMMON = ["--phases", "look,mep,unified", "--epochs", "1", "--quiet", "--overwrite"]
SETS = ("seen", "unseen", "diagram")


def qr(*words: str) -> str:
    """Return what a command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "qr_cli", *words], check=True, capture_output=True, text=True
    )
    return done.stdout


def row(name: str, seed: int, samples: int, out: Path) -> dict[str, object]:
    """Train one row and return its figures."""
    known = ROWS[name]
    flags = [*COMMON, *known] if "--phases" not in known else [*COMMON[2:], *known]
    run = f"{name.replace(' ', '-').lower()}-s{seed}"
    folder = qr(
        "train", "geo", "--recipe", "tiny", "--samples", str(samples), "--seed", str(seed),
        "--name", run, "--out", str(out), *flags,
    ).strip()  # fmt: skip
    told = qr(
        "eval", "geo", *(f"synth:{s}" for s in SETS), "--solver", "network", "--samples", "300",
        "--beams", "1", "--checkpoint", folder, "--seed", "5", "--json",
    )  # fmt: skip
    figures: dict[str, object] = {"row": name, "seed": seed, "samples": samples}
    for line in map(json.loads, told.splitlines()):
        kind = "acc" if line["task"] == "calculation" else "valid"
        figures[f"{kind}_{line['data'].removeprefix('synth:')}"] = line[kind]
    return figures


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=12_000)
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
    print(f"{'':<22}" + "".join(f"{k:>22}" for k in keys))
    for name in names:
        cells = []
        for key in keys:
            own = {d["seed"]: d.get(key) for d in done if d["row"] == name}
            full = {d["seed"]: d.get(key) for d in done if d["row"] == "full"}
            pairs = [(own[s], full[s]) for s in seeds if own.get(s) is not None]
            gaps = [100 * (a - b) for a, b in pairs]
            error = stdev(gaps) / sqrt(len(gaps)) if len(gaps) > 1 else float("nan")
            cells.append(
                f"{100 * mean(a for a, _ in pairs):.1f} ({mean(gaps):+.1f} ± {error:.1f})"
                if pairs else "-"
            )  # fmt: skip
        print(f"{name:<22}" + "".join(f"{c:>22}" for c in cells))


if __name__ == "__main__":
    main()
