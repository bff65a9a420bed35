"""The ``--dry-run`` view of a training command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qr_cli.cli.options import Call
from qr_cli.cli.output import out
from qr_cli.engine.recipe import TrainRecipe
from qr_cli.engine.resolve import leaves


def show_plan(call: Call[Any], record: Mapping[str, Any], places: Sequence[Any]) -> None:
    """Print the resolved recipe and what it amounts to; writes nothing.

    Args:
        call: the command's call; its recipe is shown, with origins when verbose.
        record: the figures of the plan.
        places: where modules go: name, channels and mechanism of each.
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
    out.table("recipe", ["option", "value", "from"], rows)
    figures = [[key.replace("_", " "), _text(record[key])] for key in record if key != "event"]
    out.table("plan", ["", "value>"], [*figures, ["run folder", folder]])
    if out.verbose:
        where = [[p.name, str(p.channels), p.mechanism] for p in places]
        out.table("attention", ["module", "channels>", "how"], where)
    out.value(folder)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list | tuple):
        return ",".join(map(str, value)) or "-"
    if isinstance(value, int):
        return f"{value:,}"
    return "-" if value is None else str(value)
