"""Rules and network together: whose answer stands, and what the other one says.

The rules' answer has the weight they earned on the published problems they were written with, the
network's the rest. The network answers alone where the rules do not understand and half of its vote
is for one option; where they say that the text needs its diagram, only if it was given one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from qr_cli.geo.answer_record import CONFIDENCE, LETTERS, record
from qr_cli.geo.construct import Construction
from qr_cli.geo.opinion import Guess, Opinion, Select, opinion
from qr_cli.geo.program import Mode, matches
from qr_cli.geo.slotting import Slot, Slotted
from qr_cli.geo.work import ANSWERED, CONTRADICTION, FOREIGN, Work

SHOWN = 3  # alternatives of the network
LEAST = 0.5  # confidence below which it does not answer beside silent rules


@dataclass(frozen=True)
class Said:
    """What the network wrote for one problem.

    Attributes:
        guesses: its beams, best first.
        numbers: N_0, N_1, ... as it read them.
        elements: E_0, E_1, ... as it read them.
        tau: temperature of its scores.
        select: how the option is chosen.
        checkpoint: its name.
        looked: it was shown the diagram.
        fault: why it could not read the problem.
    """

    guesses: tuple[Guess, ...] = ()
    numbers: tuple[float, ...] = ()
    elements: tuple[str, ...] = ()
    tau: float = 1.0
    select: Select = "vote"
    checkpoint: str = ""
    looked: bool = False
    fault: str | None = None


def with_network(
    work: Work, told: dict[str, Any], said: Said, *, alone: bool, mode: Mode, exact: bool
) -> dict[str, Any]:
    """Return the record of a calculation that the network had a look at too.

    Args:
        work: the rules'; with `alone` only as far as reading goes.
        told: the rules' record.
        said: what the network wrote.
        alone: the network answers, whatever the rules would say.
        mode: the option rule.
        exact: give closed forms too.
    """
    if said.fault:
        return told | {"notes": [*told["notes"], f"not read by the network: {said.fault}"]}
    found = opinion(said.guesses, said.numbers, work.options, tau=said.tau, select=said.select)
    told = {**told, "checkpoint": said.checkpoint}
    if not alone:
        if told["status"] in ANSWERED:
            return _agreed(work, told, found)
        silent = told["status"] == "unsolved" and not {FOREIGN, CONTRADICTION} & set(work.notes)
        if not (silent or (told["status"] == "needs-diagram" and said.looked)):
            if FOREIGN not in work.notes:
                told["alternatives"] = [*told["alternatives"], *_alternatives(found)]
            return told
    unsure = (work.options and found.index is None) or found.confidence < LEAST
    if found.chosen is None or (not alone and unsure):
        told["alternatives"] = [*told["alternatives"], *_alternatives(found)]
        return told
    return _answered(work, said, found, mode=mode, exact=exact)


def _agreed(work: Work, told: dict[str, Any], found: Opinion) -> dict[str, Any]:
    """Tell whether the network agrees with an answer of the rules."""
    weight = CONFIDENCE.get(told["status"], 0.5)
    index = told["option_index"]
    if index is not None:
        share = found.shares.get(index, 0.0)
        agrees = found.index == index
    else:
        value = float(told["value"])
        fits = [b for b in found.ballots if b.value is not None and matches(value, [b.value])]
        share = sum(b.share for b in fits)
        agrees = found.chosen in fits
    told |= {
        "method": "rules+network" if agrees else "rules",
        "confidence": round(weight + (1 - weight) * share, 4),
    }
    if not agrees:
        told["alternatives"] = [*told["alternatives"], *_alternatives(found)]
    return told


def _answered(work: Work, said: Said, found: Opinion, *, mode: Mode, exact: bool) -> dict[str, Any]:
    """Return the record of the network's own answer."""
    chosen = found.chosen
    assert chosen is not None
    fits = work.options is None or bool(chosen.hits)
    status = "network" if fits and len(chosen.hits) < 2 else "ambiguous" if fits else "no-match"
    own = replace(
        work, slotted=_slotted(work, said), status=status, value=chosen.value,
        program=chosen.guess.text, confirmed=True, hits=chosen.hits, construction=Construction(),
        family=None, candidates=[], assumed=[],
        notes=["this answer is the network's; no rule confirms it", *work.notes],
    )  # fmt: skip
    told = record(own, mode=mode, exact=exact)
    return told | {
        "method": "network", "program_confirmed": None, "checkpoint": said.checkpoint,
        "confidence": round(found.confidence, 4) if fits else None,
        "alternatives": list(_alternatives(found, but=chosen.guess.text)),
    }  # fmt: skip


def _slotted(work: Work, said: Said) -> Slotted:
    """Return the numbers as the network read them; those of a record count more than the text's."""
    if tuple(work.slotted.numbers) == said.numbers:
        return work.slotted
    slots = tuple(Slot(n, str(Fraction(str(n))), None, 0, 0) for n in said.numbers)
    return Slotted(work.slotted.text, slots)


def _alternatives(found: Opinion, but: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield the network's beams, each result once."""
    seen: set[float | None] = {b.value for b in found.ballots if b.guess.text == but}
    shown = 0
    for ballot in found.ballots:
        if ballot.value is None or ballot.value in seen or shown == SHOWN:
            continue
        seen.add(ballot.value)
        shown += 1
        one = len(ballot.hits) == 1
        yield {
            "method": "network", "program": ballot.guess.text, "value": ballot.value,
            "option": LETTERS[ballot.hits[0]] if one else None,
            "logprob": round(ballot.guess.score, 3),
        }  # fmt: skip
