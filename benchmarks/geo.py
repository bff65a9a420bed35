"""Speed of the symbolic part on one core: programs run, proofs checked and found, problems solved.

    OMP_NUM_THREADS=1 python benchmarks/geo.py ../shared/data/geo [--every 8]

CPU time of the process. The bars are those of the room: 500 proofs/s checked, 5 problems/s solved.
The ratio beside each figure is to running the same programs with the float executor.
"""

import argparse
import json
import time
from pathlib import Path

from qr_cli.geo import exact
from qr_cli.geo.checker import check
from qr_cli.geo.givens import read_problem
from qr_cli.geo.program import execute
from qr_cli.geo.prover import prove
from qr_cli.geo.records import read
from qr_cli.geo.solver import solve


def rate(function, items) -> float:
    """Return items per CPU second."""
    start = time.process_time()
    for item in items:
        function(item)
    return len(items) / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=8, help="take every so many-th problem")
    asked = parser.parse_args()
    calculation = [
        json.loads(line) for line in (asked.folder / "unigeo_dev_calculation.jsonl").open()
    ]
    proving = [json.loads(line) for line in (asked.folder / "unigeo_dev_proving.jsonl").open()]
    parsed = [(read_problem(p["problem"]), p["program"]) for p in proving]
    problems = list(read(asked.folder / "unigeo_dev_calculation.jsonl"))[:: asked.every]
    solve(problems[0])  # imports
    runs = rate(lambda p: execute(p["program"], p["numbers"]), calculation * 20)
    rows = [
        ("programs run (float)", runs, None),
        ("programs run (closed form)",
         rate(lambda p: exact.evaluate(p["program"], p["numbers"]), calculation), None),
        ("proofs checked", rate(lambda p: check(*p), parsed), 500),
        ("proofs found, elements given",
         rate(lambda p: prove(p[0]), parsed[:: asked.every]), None),
        ("calculation problems solved", rate(solve, problems), 5),
    ]  # fmt: skip
    print(f"{'what':<32}{'per CPU second':>15}{'bar':>6}{'one costs programs':>20}")
    for name, value, bar in rows:
        print(f"{name:<32}{value:>15,.1f}{bar or '-':>6}{runs / value:>20,.0f}")


if __name__ == "__main__":
    main()
