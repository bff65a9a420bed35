"""Generated problems: calculations, pictures that decide the answer, proofs. Imports no torch.

    from qr_cli.geo.synth import make
    make(3, seed=1)[0].problem.text

A sample is a family, a figure with coordinates, numbers, letters and a sentence form; it is checked
before it leaves: the gold program reaches the label and no other option, the coordinates have what
the text says, the proof is verified on its own coordinates. Sample i of a stream depends on the
seed, the split and i only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, count, islice

import numpy as np

from qr_cli.errors import UsageError, near
from qr_cli.geo.synth import ink
from qr_cli.geo.synth.angles import ANGLES
from qr_cli.geo.synth.areas import AREAS
from qr_cli.geo.synth.circles import CIRCLES
from qr_cli.geo.synth.diagram import DIAGRAMS
from qr_cli.geo.synth.diagram import ROWS as DIAGRAM_ROWS
from qr_cli.geo.synth.dice import Dice
from qr_cli.geo.synth.family import Family, Sample
from qr_cli.geo.synth.lengths import LENGTHS
from qr_cli.geo.synth.phrases import SPLITS, fixed_words
from qr_cli.geo.synth.proving import families as proof_families
from qr_cli.geo.synth.schemata import SCHEMATA
from qr_cli.geo.text import normalize

_ROWS = (*ANGLES, *CIRCLES, *LENGTHS, *AREAS)
_ALL = (*(row.family() for row in _ROWS), *DIAGRAMS, *proof_families(SCHEMATA))
FAMILIES: dict[str, Family] = {family.name: family for family in _ALL}
MIX: Mapping[str, float] = {"proof": 2.0, "calculation": 2.0, "diagram": 1.0}
_DIAGRAM_MIX: Mapping[str, float] = {"diagram": 1.0}
_Pool = tuple[float, list[Family]]


def draw_one(
    rng: np.random.Generator,
    split: str,
    kind: str | None = None,
    family: str | None = None,
    image: bool = True,
) -> Sample:
    """Return one sample.

    Args:
        rng: where every choice comes from.
        split: train, seen, unseen or diagram.
        kind: calculation, diagram or proof; any, when neither it nor a family is given.
        family: the name of a family.
        image: whether to draw the picture.

    Raises:
        UsageError: there is no such split, kind or family.
    """
    _check(split, [family] if family else [], [kind] if kind else [])
    dice = Dice(rng)
    if family is None:
        return _draw(dice, split, _pools({kind: 1.0} if kind else _mix(split, None)), image)
    return _finished(FAMILIES[family].make(dice, split, None), image)


def stream(
    seed: int,
    split: str = "train",
    mix: Mapping[str, float] | None = None,
    families: Sequence[str] | None = None,
    image: bool = True,
    start: int = 0,
) -> Iterator[Sample]:
    """Yield samples without end; sample i depends on the seed, the split and i only.

    Args:
        seed: the stream's seed; the splits of one seed share no sample.
        split: train, seen (its phrasings and letters, other samples), unseen (other phrasings and
            letters) or diagram (the diagram families alone).
        mix: share of each kind; proofs 2, calculations 2, diagrams 1 when not given.
        families: names of the families to draw from; all when not given.
        image: whether to draw the pictures.
        start: the first sample.

    Raises:
        UsageError: there is no such split, kind or family.
    """
    _check(split, families or (), mix or ())
    pools, place = _pools(_mix(split, mix), families), SPLITS.index(split)
    for i in count(start):
        dice = Dice(np.random.default_rng((seed, place, i)))
        sample = _draw(dice, split, pools, image)
        yield replace(sample, problem=replace(sample.problem, id=f"{split}-{seed}-{i}"))


def make(
    n: int,
    seed: int = 1,
    split: str = "train",
    mix: Mapping[str, float] | None = None,
    families: Sequence[str] | None = None,
    image: bool = True,
    start: int = 0,
) -> list[Sample]:
    """Return the first n samples of a stream."""
    return list(islice(stream(seed, split, mix, families, image, start), n))


def words() -> tuple[str, ...]:
    """Return every word that a text of any split may hold, in lower case and alphabetical order."""
    texts = [fixed_words(), *(schema.tail for schema in SCHEMATA)]
    for row in (*_ROWS, *DIAGRAM_ROWS):
        texts += [*row.place, *row.asked, *(w for wordings in row.facts for w in wordings)]
    plain = normalize(re.sub(r"\{.*?\}", " ", " ".join(texts)))
    return tuple(sorted({w.lower() for w in re.findall(r"\b(?:[A-Z]?[a-z]+)\b", plain)}))


def _mix(split: str, mix: Mapping[str, float] | None) -> Mapping[str, float]:
    return mix or (_DIAGRAM_MIX if split == "diagram" else MIX)


def _pools(mix: Mapping[str, float], families: Sequence[str] | None = None) -> list[_Pool]:
    """Return the families of each kind, with the shares up to and with it."""
    named = [FAMILIES[name] for name in families or FAMILIES]
    found = [(s, [f for f in named if f.kind == kind]) for kind, s in mix.items() if s > 0]
    found = [pool for pool in found if pool[1]] or [(1.0, named)]  # else of no kind of the mix
    edges = accumulate(share for share, _ in found)
    return [(edge, pool) for edge, (_, pool) in zip(edges, found, strict=True)]


def _draw(dice: Dice, split: str, pools: list[_Pool], image: bool) -> Sample:
    at = dice.unit() * pools[-1][0]
    families = next(pool for edge, pool in pools if at < edge)
    return _finished(dice.pick(families).make(dice, split, None), image)


def _finished(sample: Sample, image: bool) -> Sample:
    return replace(sample, image=ink.raster(sample.figure, sample.look)) if image else sample


def _check(split: str, families: Sequence[str], kinds: Sequence[str] | Mapping[str, float]) -> None:
    for what, given, known in (
        ("split", [split], SPLITS), ("family", families, FAMILIES), ("kind", kinds, MIX),
    ):  # fmt: skip
        for name in given:
            if name not in known:
                raise UsageError(
                    f"there is no {what} {name!r}{near(name, known)}",
                    hint="qr data geo make --list",
                )


__all__ = ["FAMILIES", "MIX", "SPLITS", "Family", "Sample", "draw_one", "make", "stream", "words"]
