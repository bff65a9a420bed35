"""Generated problems as records and as a folder: problems.jsonl, diagrams/, manifest.json."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from qr_cli.engine.folder import appearing
from qr_cli.errors import UsageError
from qr_cli.geo.records import Problem
from qr_cli.geo.synth import FAMILIES, Sample, ink, stream

Diagrams = Literal["png", "svg", "none"]
Elements = Literal["extra", "gold", "none"]
PIXELS = 224


def samples(
    n: int, *, seed: int, split: str, families: Sequence[str], elements: Elements
) -> Iterator[Sample]:
    """Yield n samples of a stream, without pictures.

    Args:
        n: how many.
        seed: the stream's seed.
        split: train, seen, unseen or diagram.
        families: names; none means all.
        elements: `extra` as generated (three proofs in ten list more than they need), `gold` only
            what the proof uses, `none` neither the list nor the proof that refers to it.

    Raises:
        UsageError: there is no such split or family.
    """
    found = stream(seed, split, families=families or None, image=False)
    for sample in islice(found, n):
        if sample.problem.proof and elements != "extra":
            problem = sample.problem
            problem = _needed(problem) if elements == "gold" else _bare(problem)
            sample = replace(sample, problem=problem)
        yield sample


def _bare(problem: Problem) -> Problem:
    return replace(problem, elements=None, proof=None)


def _needed(problem: Problem) -> Problem:
    """Return a proof's record with the elements it uses, in the same order."""
    proof, elements = problem.proof or "", problem.elements or ()
    used = sorted({int(i) for i in re.findall(r"E_(\d+)", proof)})
    places = {old: new for new, old in enumerate(used)}
    return replace(
        problem,
        elements=tuple(elements[i] for i in used),
        proof=re.sub(r"E_(\d+)", lambda found: f"E_{places[int(found[1])]}", proof),
    )


def record(sample: Sample, split: str, diagram: str | None = None) -> dict[str, Any]:
    """Return a sample as the record that `qr solve-geo` and `qr data geo check` read."""
    problem = sample.problem
    row: dict[str, Any] = {"id": problem.id, "task": problem.task, "text": problem.text}
    if problem.task == "calculation":
        row |= {
            "slot_text": problem.slot_text, "numbers": list(problem.numbers or ()),
            "choices": list(problem.choices or ()), "label": problem.label,
            "program": problem.program,
        }  # fmt: skip
    else:
        row |= {
            "elements": list(problem.elements) if problem.elements else None,
            "proof": problem.proof, "collinear": [list(t) for t in problem.collinear] or None,
        }  # fmt: skip
    points = {k: [round(x, 9), round(y, 9)] for k, (x, y) in (problem.points or {}).items()}
    return row | {
        "category": problem.category, "diagram": diagram, "points": points, "split": split,
        "family": sample.family, "phrase": sample.phrase, "reading": sample.reading,
        "relation": sample.relation,
    }  # fmt: skip


def write(
    out: Path,
    n: int,
    *,
    seed: int = 1,
    split: str = "train",
    families: Sequence[str] = (),
    diagrams: Diagrams = "png",
    elements: Elements = "extra",
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write `problems.jsonl`, `diagrams/ID.png` (or .svg) and `manifest.json`; return the manifest.

    Args:
        out: the folder to make; it appears whole.
        n: how many problems.
        seed: the stream's seed.
        split: train, seen, unseen or diagram.
        families: names; none means all.
        diagrams: pictures of 224 pixels, drawings, or none.
        elements: see `samples`.
        overwrite: replace the folder.

    Raises:
        UsageError: the folder is there already, or there is no such split or family.
    """
    if out.exists() and not overwrite:
        raise UsageError(f"--out: {out} is there already", hint="--overwrite, or another --out")
    found = samples(n, seed=seed, split=split, families=families, elements=elements)
    kinds: Counter[str] = Counter()
    names: Counter[str] = Counter()
    with appearing(out) as part:
        if diagrams != "none":
            (part / "diagrams").mkdir()
        with (part / "problems.jsonl").open("w", encoding="utf-8") as lines:
            for sample in found:
                diagram = _draw(sample, part, diagrams)
                row = record(sample, split, diagram)
                lines.write(json.dumps(row, ensure_ascii=False) + "\n")
                kinds[FAMILIES[sample.family].kind] += 1
                names[sample.family] += 1
        manifest = {
            "n": n, "seed": seed, "split": split, "diagrams": diagrams, "elements": elements,
            "kinds": dict(kinds), "families": dict(sorted(names.items())),
        }  # fmt: skip
        (part / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")
    return manifest


def _draw(sample: Sample, folder: Path, diagrams: Diagrams) -> str | None:
    if diagrams == "none":
        return None
    name = f"diagrams/{sample.problem.id}.{diagrams}"
    if diagrams == "svg":
        (folder / name).write_text(ink.svg(sample.figure, sample.look), "utf-8")
    else:
        pixels = ink.raster(sample.figure, sample.look, PIXELS, over=3)
        Image.fromarray(pixels).save(folder / name)
    return name
