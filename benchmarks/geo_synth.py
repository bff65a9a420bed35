"""Generated problems: samples per second by kind, proofs verified, mutated proofs rejected.

    python benchmarks/geo_synth.py [--n 1000] [--seed 0] [--sheet FILE.png]

Proofs are checked on their own coordinates, from their text. One mutation per proof and kind, drawn
with random.Random(seed), as in geo_checker.py; not counted are swaps of neighbours that do not use
each other and operands that leave every statement the same.
"""

import argparse
import random
import time
from collections import Counter
from itertools import islice

import numpy as np
from geo_checker import MUTATIONS, REJECTED
from PIL import Image

from qr_cli.errors import DataError
from qr_cli.geo.checker import Verdict, check
from qr_cli.geo.givens import ProofProblem, read_problem
from qr_cli.geo.proof import canonical, parse_proof
from qr_cli.geo.synth import FAMILIES, Sample, ink, stream
from qr_cli.geo.synth.dice import Dice


def speed(n: int, seed: int) -> None:
    """Print samples per CPU second by kind, without and with pictures."""
    print(f"{'kind':<14}{'text only':>10}{'with picture':>14}   samples per CPU second")
    for kind in ("calculation", "diagram", "proof", "all"):
        mix = None if kind == "all" else {kind: 1.0}
        found = []
        for image in (False, True):
            samples = stream(seed, mix=mix, image=image)
            list(islice(samples, 200))  # tables of programs and figures, once
            start = time.process_time()
            list(islice(samples, n))
            found.append(n / (time.process_time() - start))
        print(f"{kind:<14}{found[0]:>10.0f}{found[1]:>14.0f}")


def posed(sample: Sample) -> ProofProblem:
    """Return the problem of a proof as a user's text gives it."""
    problem = sample.problem
    return read_problem(
        problem.text,
        elements=problem.elements,
        points=dict(problem.points or {}),
        collinear=problem.collinear,
    )


def same(problem: ProofProblem, one: list[str], two: list[str]) -> bool:
    """Tell whether two proofs have the same statements in the same order."""
    try:
        first, second = (parse_proof(tokens, problem.elements) for tokens in (one, two))
    except DataError:
        return False
    return [(s.reason, canonical(s.statement)) for s in first] == [
        (s.reason, canonical(s.statement)) for s in second
    ]


def independent(before: list[str], after: list[str], verdict: Verdict) -> bool:
    """Tell whether the neighbours that were exchanged do not use each other."""
    places = [i for i, token in enumerate(before) if token.startswith("R_")]
    first = next(i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b)
    step = max(k for k, place in enumerate(places) if place <= first)
    last = step + 1 == len(verdict.steps) - 1
    return not last and step not in verdict.steps[step + 1].uses


def mutated(samples: list[Sample], seed: int) -> None:
    """Print how many mutations of each kind are rejected."""
    draw, counts = random.Random(seed), Counter[tuple[str, bool]]()
    for sample in samples:
        problem, tokens = posed(sample), (sample.problem.proof or "").split()
        verdict = check(problem, tokens)
        for kind, mutate in MUTATIONS.items():
            changed = mutate(tokens, problem, draw)
            if not changed or changed == tokens or same(problem, tokens, changed):
                continue
            if kind == "swapped" and independent(tokens, changed, verdict):
                continue
            counts[kind, check(problem, changed).verdict in REJECTED] += 1
    print(f"{'mutation':<16}{'rejected':>9}{'of':>6}{'share':>8}")
    rows = {k: (counts[k, True], counts[k, True] + counts[k, False]) for k in MUTATIONS}
    rows["all"] = tuple(map(sum, zip(*rows.values(), strict=True)))  # type: ignore[assignment]
    for kind, (rejected, count) in rows.items():
        print(f"{kind:<16}{rejected:>9}{count:>6}{100 * rejected / max(count, 1):>7.1f}%")


def sheet(file: str, seed: int) -> None:
    """Draw two readings of one text for each diagram family."""
    tiles = []
    for family in (f for f in FAMILIES.values() if f.kind == "diagram"):
        for reading in family.readings[:2]:
            sample = family.make(Dice(np.random.default_rng(seed)), "train", reading)
            tiles.append(ink.raster(sample.figure, sample.look, 160, over=3))
    rows = [np.hstack(tiles[i : i + 8]) for i in range(0, len(tiles), 8)]
    Image.fromarray(np.vstack(rows)).save(file, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheet")
    asked = parser.parse_args()
    if asked.sheet:
        sheet(asked.sheet, asked.seed)
        return
    speed(asked.n, asked.seed)
    samples = list(islice(stream(asked.seed, mix={"proof": 1.0}, image=False), asked.n))
    verdicts = Counter(check(posed(s), s.problem.proof or "").verdict for s in samples)
    print(f"proofs of {asked.n}, on their own coordinates: {dict(verdicts)}")
    mutated(samples, asked.seed)


if __name__ == "__main__":
    main()
