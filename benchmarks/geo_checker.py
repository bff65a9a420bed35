"""How many single mutations of published proofs the checker rejects, by kind.

    python benchmarks/geo_checker.py ../shared/data/geo/unigeo_dev_proving.jsonl --seeds 0,1,2

One mutation per proof and kind, drawn with random.Random(seed); one that equals the original is
skipped. Rejected means refuted, wrong-goal or syntax.
"""

import argparse
import json
import random
import re
from collections import Counter
from collections.abc import Callable

from qr_cli.geo.checker import check
from qr_cli.geo.givens import ProofProblem, read_problem

Tokens = list[str]
KINDS_OF_REASONS = [{"R_0", "R_13", "R_29", "R_30"}, {"R_15", "R_21"}]


def steps_of(tokens: Tokens) -> list[Tokens]:
    """Return a proof's steps, each with its reason."""
    return [part.split() for part in re.split(r"(?=R_\d)", " ".join(tokens)) if part]


def element(tokens: Tokens, problem: ProofProblem, draw: random.Random) -> Tokens | None:
    place = draw.choice([i for i, t in enumerate(tokens) if t.startswith("E_")])
    kinds = [e.kind for e in problem.elements]
    own = int(tokens[place][2:])
    others = [i for i, kind in enumerate(kinds) if kind == kinds[own] and i != own]
    return [*tokens[:place], f"E_{draw.choice(others)}", *tokens[place + 1 :]] if others else None


def any_reason(tokens: Tokens, problem: ProofProblem, draw: random.Random) -> Tokens | None:
    place = draw.choice([i for i, t in enumerate(tokens) if t.startswith("R_")])
    others = [f"R_{k}" for k in range(37) if f"R_{k}" != tokens[place]]
    return [*tokens[:place], draw.choice(others), *tokens[place + 1 :]]


def triangle_reason(tokens: Tokens, problem: ProofProblem, draw: random.Random) -> Tokens | None:
    found = [(i, k) for i, t in enumerate(tokens) for k in KINDS_OF_REASONS if t in k]
    if not found:
        return None
    place, kind = draw.choice(found)
    other = draw.choice(sorted(kind - {tokens[place]}))
    return [*tokens[:place], other, *tokens[place + 1 :]]


def dropped(tokens: Tokens, problem: ProofProblem, draw: random.Random) -> Tokens | None:
    steps = steps_of(tokens)
    steps.pop(draw.randrange(len(steps)))
    return [t for step in steps for t in step]


def swapped(tokens: Tokens, problem: ProofProblem, draw: random.Random) -> Tokens | None:
    steps = steps_of(tokens)
    if len(steps) < 2:
        return None
    i = draw.randrange(len(steps) - 1)
    steps[i], steps[i + 1] = steps[i + 1], steps[i]
    return [t for step in steps for t in step]


def operands(tokens: Tokens, problem: ProofProblem, draw: random.Random) -> Tokens | None:
    places = [i for i, t in enumerate(tokens) if t.startswith("E_")]
    i, j = draw.sample(places, 2)
    tokens = list(tokens)
    tokens[i], tokens[j] = tokens[j], tokens[i]
    return tokens


MUTATIONS: dict[str, Callable[[Tokens, ProofProblem, random.Random], Tokens | None]] = {
    "element": element,
    "any reason": any_reason,
    "triangle reason": triangle_reason,
    "dropped": dropped,
    "swapped": swapped,
    "operands": operands,
}
REJECTED = ("refuted", "wrong-goal", "syntax")


def table(records: list[dict], seed: int) -> dict[str, tuple[int, int]]:
    """Return (rejected, mutated) by kind."""
    counts: Counter[tuple[str, bool]] = Counter()
    draw = random.Random(seed)
    for record in records:
        problem, tokens = read_problem(record["problem"]), record["program"].split()
        for kind, mutate in MUTATIONS.items():
            changed = mutate(tokens, problem, draw)
            if changed and changed != tokens:
                counts[kind, check(problem, changed).verdict in REJECTED] += 1
    return {
        kind: (counts[kind, True], counts[kind, True] + counts[kind, False]) for kind in MUTATIONS
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--seeds", default="0,1,2")
    asked = parser.parse_args()
    with open(asked.file, encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    print(f"{'seed':>4}  {'mutation':<16}{'rejected':>9}{'of':>6}{'share':>8}")
    for seed in map(int, asked.seeds.split(",")):
        rows = table(records, seed)
        rows["all"] = tuple(map(sum, zip(*rows.values(), strict=True)))  # type: ignore[assignment]
        for kind, (rejected, count) in rows.items():
            print(f"{seed:>4}  {kind:<16}{rejected:>9}{count:>6}{100 * rejected / count:>7.1f}%")


if __name__ == "__main__":
    main()
