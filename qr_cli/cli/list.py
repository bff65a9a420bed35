"""`qr list KIND`: what can be named on the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from qr_cli.cli.output import out
from qr_cli.cli.verb import group, verb

Row = dict[str, Any]


def _modules() -> Iterator[Row]:
    from qr_cli.attention.names import MODULES

    for name, entry in MODULES.all().items():
        yield {"name": name, "summary": entry.summary}


def _attention() -> Iterator[Row]:
    from qr_cli.attention.catalog import catalog  # imports torch

    return catalog()


def _archs() -> Iterator[Row]:
    from qr_cli.attention.backbones.names import CIFAR_RESNETS, TORCHVISION_RESNETS
    from qr_cli.attention.names import BACKBONES

    for name in CIFAR_RESNETS:
        yield {"name": name, "summary": "CIFAR ResNet of the authors"}
    for name in TORCHVISION_RESNETS:
        yield {"name": name, "summary": "torchvision; with (stem=cifar) for small images"}
    for name, entry in BACKBONES.all().items():
        yield {"name": f"{name}:NAME", "summary": entry.summary}


def _srp() -> Iterator[Row]:
    from qr_cli.attention.names import SRP

    for name, entry in SRP.all().items():
        yield {"name": name, "summary": entry.summary}


def _data() -> Iterator[Row]:
    from qr_cli.attention.names import SOURCES

    for name, entry in SOURCES.all().items():
        yield {"name": name, "summary": entry.summary}


def _methods() -> Iterator[Row]:
    from qr_cli.fuse.names import METHODS

    for name, entry in METHODS.all().items():
        yield {"name": name, "summary": entry.summary}


def _bases() -> Iterator[Row]:
    from qr_cli.handoff.bases import HANDOFF_BASES

    for name, entry in HANDOFF_BASES.all().items():
        yield {"name": name, "summary": entry.summary}


def _generate() -> Iterator[Row]:
    from qr_cli.generate.names import JUDGES, SUITES

    for table in (SUITES, JUDGES):
        for name, entry in table.all().items():
            yield {"name": name, "summary": entry.summary}


def _recipes() -> Iterator[Row]:
    from qr_cli.engine.resolve import shipped

    for task in ("attention", "reparam", "fuse", "generate", "geo", "handoff"):
        for name, path in shipped(task).items():
            head = path.read_text("utf-8").splitlines()[0].lstrip("# ")
            yield {"name": name, "task": task, "summary": head}


def _geo() -> Iterator[Row]:
    from qr_cli.geo.families import kinds
    from qr_cli.geo.program import operators
    from qr_cli.geo.reasons import REASONS

    yield {"name": "geoformer-tiny", "summary": "preset: small, whole words, runs on a CPU"}
    yield {"name": "geoformer", "summary": "preset: the authors' T5-base with a ResNet-101"}
    for name, operator in operators("geoqa+").items():
        yield {"name": name, "summary": f"operator of {operator.arity}: {operator.summary}"}
    for index, reason in enumerate(REASONS):
        yield {"name": f"R_{index}", "summary": f"{reason.name}: {reason.says}"}
    for name, asked in kinds():
        yield {
            "name": f"{name}:{asked}".replace(" ", "-"),
            "summary": "family that is solved without a figure",
        }


KINDS: dict[str, tuple[str, Callable[[], Iterator[Row]]]] = {
    "modules": ("Attention modules, for --module.", _modules),
    "attention": ("Attention modules: parameters at 256 channels, start gate.", _attention),
    "archs": ("Backbones, for --arch.", _archs),
    "srp": ("Re-parameterization blocks, for --srp.", _srp),
    "data": ("Data sources, for --data.", _data),
    "geo": ("Presets, operators, reasons of proofs, families of problems.", _geo),
    "methods": ("Fusion methods, for qr fuse --method.", _methods),
    "bases": ("Bases of handoff models, for --base.", _bases),
    "generate": ("Suites and judges of qr eval generate.", _generate),
    "recipes": ("Shipped recipes, for --recipe.", _recipes),
}
_NUMBERS = {"parameters": "params", "start_gate": "gate"}  # columns of some kinds


def _printer(kind: str, rows: Callable[[], Iterator[Row]]) -> Callable[[], None]:
    def show() -> None:
        found = list(rows())
        for row in found:
            out.record({"event": kind.removesuffix("s"), **row})
            out.value(row["name"])
        numbers = [key for key in _NUMBERS if any(key in row for row in found)]
        columns = ["name", *(f"{_NUMBERS[key]}>" for key in numbers), "what it is"]
        cells = [[r["name"], *(_cell(r[key]) for key in numbers), r["summary"]] for r in found]
        out.table(kind, columns, cells)

    return show


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


app = group("List what can be named on the command line.")
for _kind, (_help, _rows) in KINDS.items():
    shown = [f"qr list {_kind}", f"qr list {_kind} --json"]
    verb(app, _kind, help=_help, shown=shown)(_printer(_kind, _rows))
