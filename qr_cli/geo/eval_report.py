"""The report of `qr eval geo`: tables, plots, and pages of the worst and of some other cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from qr_cli.engine.evaluation import write_evaluation
from qr_cli.engine.files import write_bytes
from qr_cli.engine.report import Link, Table
from qr_cli.errors import DataError
from qr_cli.geo import metrics, page
from qr_cli.geo.cases import Case, choose
from qr_cli.geo.eval_plots import plots
from qr_cli.geo.evaluate import Part
from qr_cli.geo.network import load_network
from qr_cli.geo.recipe import GeoEval
from qr_cli.geo.solver import Options, Solver, solve

Record = dict[str, Any]
# task -> columns of its table; shares in per cent
COLUMNS = {
    "calculation": ("acc", "oracle", "exact", "no_result", "over_limit", "vote", "ece"),
    "proving": ("exact", "set", "valid", "verified", "refuted", "bleu", "over_limit"),
}
CAPTIONS = {
    "calculation": "Per cent. acc: the first candidate that matches an option names the answer. "
    "oracle: some candidate hits it. exact: some candidate is the target word for word. "
    "vote, ece: of the network's vote over its beams.",
    "proving": "Per cent. valid: the checker accepts some candidate. "
    "verified, refuted: its verdict on the first. set: the same reasons and statements.",
}


def write(folder: Path, recipe: GeoEval, records: list[Record], parts: Sequence[Part]) -> Record:
    """Write the report; return the "report" record."""
    solvers = ", ".join(dict.fromkeys(part.solver for part in parts))
    sources = ", ".join(dict.fromkeys(Path(part.data).name for part in parts))
    cases, pages = _cases(choose(parts, seed=recipe.examined.seed), recipe)
    made = write_evaluation(
        folder,
        recipe,
        records,
        lead=f"{solvers} on {sources}; {metrics.CONVENTION}.",
        figures=plots(parts, recipe.examined.max_length),
        tables=[
            *(_figures(task, records) for task in COLUMNS),
            _statuses(records),
            _readings(parts),
            cases,
        ],
        facts={"problems": sum(len(part.items) for part in parts)},
    )
    for name, content in pages.items():
        write_bytes(folder / name, content)
    return made | {"cases": len(pages)}


def _figures(task: str, records: Sequence[Record]) -> Table:
    keys = COLUMNS[task]
    rows = [
        [
            Path(r["data"]).name, r["solver"], r["diagrams"] or "off", r["category"], r["k"],
            r["n"], *(_per_cent(r.get(key)) for key in keys),
        ]
        for r in records if r["event"] == "eval" and r["task"] == task
    ]  # fmt: skip
    head = ("data", "solver", "diagrams", "category", "k", "n", *keys)
    return Table(task.capitalize(), CAPTIONS[task], [k.replace("_", " ") for k in head], rows)


def _statuses(records: Sequence[Record]) -> Table:
    keys = ("solver", "status", "n", "answered", "right")
    rows = [
        [Path(r["data"]).name, *(r[k] for k in keys)] for r in records if r["event"] == "status"
    ]
    return Table("Statuses", "What the rules say of their own answers.", ["data", *keys], rows)


def _readings(parts: Sequence[Part]) -> Table:
    """Return, for families that only the diagram decides, how each reading of it was answered."""
    looks = [p for p in parts if p.task == "calculation" and p.solver in ("network", "both")]
    held: dict[tuple[str, str], dict[str, list[str]]] = {}
    for part in looks:
        for item, given in zip(part.items, part.heard.candidates, strict=True):
            if item.family and item.family.startswith("which-"):
                told = held.setdefault((item.family, item.problem.program or ""), {})
                told.setdefault(part.look, []).append(given[0].program or "" if given else "")
    rows = []
    for (family, gold), told in sorted(held.items()):
        wrong = Counter(program for program in told.get("on", ()) if program != gold)
        n = max(map(len, told.values()))
        shares = [
            100 * sum(p == gold for p in told[look]) / len(told[look]) if look in told else None
            for look in ("on", "off", "shuffled")
        ]
        other = wrong.most_common(1)[0][0] if wrong else "–"
        rows.append([family, gold, other, n, *shares])
    return Table(
        "Readings of diagrams",
        "Families whose text is the same for every reading: per cent of first programs that are "
        "the reading's own, with its diagram, without, and with another problem's.",
        ["family", "reading", "most often instead", "n", "on", "off", "shuffled"],
        rows,
    )


def _cases(cases: Sequence[Case], recipe: GeoEval) -> tuple[Table, dict[str, bytes]]:
    """Return the table of cases, and the pages it links to by their names."""
    rows: list[list[Any]] = []
    pages: dict[str, bytes] = {}
    for number, case in enumerate(cases, 1):
        problem, asked = case.item.problem, recipe.examined
        options = Options(
            solver=cast("Solver", case.solver), seed=asked.seed
        )  # fmt: skip
        said = None
        if case.solver != "rules":
            network = load_network(asked.checkpoint)
            said = network.say(
                [problem], beams=asked.most, longest=asked.max_length, pictures=[case.shown],
                truncate=True, strange=True,
            )[0]  # fmt: skip
        try:
            answer = solve(problem, options=options, said=said)
        except DataError:
            continue
        name = f"cases/{number:02d}.html"
        pages[name] = page.html(answer, problem.text, case.png).encode()
        rows.append(
            [Link(problem.id, name), case.why, case.solver, case.said, case.wanted, answer.status]
        )
    table = Table(
        "Cases",
        "The ten worst (wrong and surest of it first) and ten drawn at random. A page shows what "
        "`qr solve-geo` makes of the problem with the same solver.",
        ["problem", "chosen as", "solver", "answered", "right", "status"],
        rows,
    )
    return table, pages


def _per_cent(value: float | None) -> float | None:
    return None if value is None else round(100 * value, 1)
