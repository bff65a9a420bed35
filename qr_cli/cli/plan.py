"""The ``--dry-run`` view of a training command."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from qr_cli.cli.options import Call
from qr_cli.cli.output import out
from qr_cli.engine.recipe import TrainRecipe
from qr_cli.engine.resolve import leaves
from qr_cli.engine.wording import ranges

NAMES = {  # of figures whose key does not say it all
    "flops": "flops (2 x multiply-add, no gates or BN)",
    "start_gate": "mean gate before training",
}
OWN = ("event", "places", "flops_counted")  # shown otherwise, or in a figure's name


def show_plan(call: Call[Any], record: Mapping[str, Any], places: Sequence[Any]) -> None:
    """Print the resolved recipe and what it amounts to; writes nothing.

    Args:
        call: the command's call; its recipe is shown, with origins when verbose.
        record: the figures of the plan.
        places: where modules go: name, stage, index, channels and mechanism of each.
    """
    recipe: TrainRecipe = call.recipe
    folder = f"{recipe.run.out}/{recipe.task}/{recipe.run_name}"
    out.record({**record, "run": folder, "recipe": recipe.model_dump(mode="json")})
    rows = []
    for leaf in leaves(type(recipe)):
        section = getattr(recipe, leaf.section)
        origin = call.origins.get(leaf.path, "default")
        if out.verbose or origin != "default":
            rows.append([leaf.flag, _text(getattr(section, leaf.key)), origin])
    out.table("recipe" if rows else "recipe: all defaults", ["option", "value", "from"], rows)
    figures = [
        [NAMES.get(key, key.replace("_", " ")), _figure(record[key])]
        for key in record
        if key not in OWN
    ]
    stages = [[f"attention in stage {stage}", names] for stage, names in _by_stage(places)]
    out.table("plan", ["", "value>"], [*figures, *stages, ["run folder", folder]])
    if out.verbose:
        where = [[p.name, str(p.channels), p.mechanism] for p in places]
        out.table("attention", ["module", "channels>", "how"], where)
    out.value(folder)


def _by_stage(places: Sequence[Any]) -> Iterator[tuple[int, str]]:
    """Yield each stage and its modules in short: ``layer3.0-2,5.attn``."""
    for stage, found in groupby(places, key=lambda place: place.stage):
        held = list(found)
        parts = [place.name.rpartition(f".{place.index}.") for place in held]
        if all(sep for _, sep, _ in parts):
            head, _, tail = parts[0]
            yield stage, f"{head}.{ranges([place.index for place in held], ',')}.{tail}"
        else:  # at the end of a stage
            yield stage, ", ".join(place.name for place in held)


def _figure(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list | tuple):
        return ",".join(map(str, value)) or "-"
    if isinstance(value, int):
        return f"{value:,}"
    return "-" if value is None else str(value)
