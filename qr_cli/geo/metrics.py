"""Published and honest figures for candidates: who hits, who agrees with the gold, who is right.

Candidates are scored after they were chosen: no function here chooses by looking at a label, except
`oracle`, which says so.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qr_cli.errors import DataError
from qr_cli.geo.checker import check
from qr_cli.geo.givens import ProofProblem
from qr_cli.geo.program import execute, official_choice
from qr_cli.geo.proof import canonical, parse_proof
from qr_cli.geo.records import Problem
from qr_cli.geo.slotting import option

CONVENTION = "official rule: first candidate that matches an option; no guess"
PROVING = ("parallel", "triangle", "quadrilateral", "congruent", "similarity")


@dataclass(frozen=True)
class Candidate:
    """A proposed answer: a program or proof, or a value that no program explains."""

    program: str | None = None
    value: float | None = None


def numbers_of(choices: Sequence[Any] | None) -> list[float | None] | None:
    """Return options as numbers."""
    return None if choices is None else [option(c)[0] for c in choices]


def result(problem: Problem, candidate: Candidate) -> float | int | None:
    """Return a candidate's official result: a value counts as it is."""
    if candidate.value is not None:
        return candidate.value
    if candidate.program is None:
        return None
    return execute(candidate.program, problem.numbers, mode="official").value


def chosen(problem: Problem, candidates: Sequence[Candidate], k: int) -> int | None:
    """Return the option of the first of k candidates whose result matches any option."""
    for candidate in candidates[:k]:
        value = result(problem, candidate)
        if value is not None:
            index, _ = official_choice(value, numbers_of(problem.choices))
            if index is not None:
                return index
    return None


def calculation(
    problems: Sequence[Problem], candidates: Sequence[Sequence[Candidate]], k: int
) -> dict[str, float]:
    """Return acc, oracle, exact and no_result at k, as shares in [0, 1].

    acc: the first candidate that matches an option names the label. oracle: some candidate hits the
    label. exact: some candidate is the target token for token. no_result: none matches an option.
    """
    acc = oracle = exact = silent = 0
    for problem, given in zip(problems, candidates, strict=True):
        index = chosen(problem, given, k)
        acc += index is not None and index == problem.label
        silent += index is None
        oracle += any(
            chosen(problem, [candidate], 1) == problem.label is not None for candidate in given[:k]
        )
        exact += any(_same(c.program, problem.program) for c in given[:k])
    n = len(problems)
    return {"acc": acc / n, "oracle": oracle / n, "exact": exact / n, "no_result": silent / n}


def proving(
    problems: Sequence[Problem], read: Sequence[ProofProblem],
    candidates: Sequence[Sequence[Candidate]], k: int,
) -> dict[str, float]:  # fmt: skip
    """Return exact, set, valid, verified, refuted, no_result and bleu at k.

    exact: token for token. set: the same reasons and canonical statements. valid: some candidate's
    verdict is verified or needs-diagram, with the right goal. verified, refuted: of the first
    candidate. no_result is 1 - exact, as in the paper. bleu: corpus 4-gram BLEU of the first.
    """
    counts: Counter[str] = Counter()
    pairs: list[tuple[list[str], list[str]]] = []
    for problem, parsed, given in zip(problems, read, candidates, strict=True):
        shown = [c.program for c in given[:k] if c.program]
        verdicts = [check(parsed, proof).verdict for proof in shown]
        counts["exact"] += any(_same(proof, problem.proof) for proof in shown)
        gold = _steps(problem.proof, parsed)
        counts["set"] += any(gold is not None and _steps(proof, parsed) == gold for proof in shown)
        counts["valid"] += any(v in ("verified", "needs-diagram") for v in verdicts)
        counts["verified"] += verdicts[:1] == ["verified"]
        counts["refuted"] += verdicts[:1] == ["refuted"]
        pairs.append(((problem.proof or "").split(), shown[0].split() if shown else []))
    n = len(problems)
    shares = {key: counts[key] / n for key in ("exact", "set", "valid", "verified", "refuted")}
    return {**shares, "no_result": 1 - shares["exact"], "bleu": bleu(pairs)}


def _same(one: str | None, two: str | None) -> bool:
    return one is not None and two is not None and one.split() == two.split()


def _steps(proof: str | None, problem: ProofProblem) -> set[tuple[int, Any]] | None:
    if proof is None:
        return None
    try:
        return {(s.reason, canonical(s.statement)) for s in parse_proof(proof, problem.elements)}
    except DataError:
        return None


def over_limit(targets: Sequence[str | None], limit: int) -> float:
    """Return the share of targets of more than `limit` words."""
    known = [t for t in targets if t]
    return sum(len(t.split()) > limit for t in known) / len(known) if known else 0.0


def bleu(pairs: Sequence[tuple[Sequence[str], Sequence[str]]]) -> float:
    """Return corpus BLEU of (target, candidate) pairs, 4-grams, in [0, 1].

    Orders that no target is long enough for are left out, so that a target against itself has 1.
    """
    logs: list[float] = []
    for n in range(1, 5):
        hit = total = 0
        for target, candidate in pairs:
            ours = Counter(tuple(candidate[i : i + n]) for i in range(len(candidate) - n + 1))
            gold = Counter(tuple(target[i : i + n]) for i in range(len(target) - n + 1))
            hit += sum((ours & gold).values())
            total += sum(ours.values())
        if total:
            logs.append(math.log(hit / total) if hit else -math.inf)
    long, short = (sum(len(pair[i]) for pair in pairs) for i in (0, 1))
    if not logs or not short or -math.inf in logs:
        return 0.0
    brevity = min(0.0, 1 - long / short)
    return math.exp(brevity + sum(logs) / len(logs))


def pooled(category: str | None, task: str) -> str:
    """Return the category a figure is told for: area and other are one, as in the paper."""
    if task == "calculation":
        return category if category in ("angle", "length") else "other"
    return "triangle" if category == "proportions" else category or "other"


def ece(confidences: Sequence[float], right: Sequence[bool], bins: int = 15) -> float:
    """Return the expected calibration error over equal bins of confidence."""
    total = 0.0
    for b in range(bins):
        held = [
            i for i, c in enumerate(confidences)
            if b / bins < c <= (b + 1) / bins or (b == 0 and c == 0)
        ]  # fmt: skip
        if held:
            share = sum(right[i] for i in held) / len(held)
            mean = sum(confidences[i] for i in held) / len(held)
            total += len(held) / len(confidences) * abs(share - mean)
    return total
