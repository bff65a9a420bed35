"""`qr fuse`."""

from __future__ import annotations

import shlex
from typing import Any

import typer

from qr_cli.cli.fuse_watch import FuseWatch
from qr_cli.cli.options import Call, recipe_app, typed
from qr_cli.cli.output import out
from qr_cli.engine.launch import is_child, relaunch
from qr_cli.errors import DataError
from qr_cli.fuse.recipe import Fuse

Record = dict[str, Any]


def command(call: Call[Fuse]) -> None:
    """Show the plan, or fuse one pair, or every line of a list."""
    recipe = call.recipe
    if recipe.pair.pairs:
        _many(call)
        return
    if call.dry_run:
        from qr_cli.fuse.run import plan

        found = plan(recipe)
        out.record({**found, "recipe": recipe.model_dump(mode="json")})
        rows = [[key.replace("_", " "), _text(value)] for key, value in found.items()]
        out.table("plan", ["", "value"], rows[1:])
        out.value(str(recipe.output.out))
        return
    with FuseWatch(out) as watch:
        record = _one(recipe, call, watch)
    watch.summary(record)


def _one(recipe: Fuse, call: Call[Fuse], watch: FuseWatch) -> Record:
    from qr_cli.fuse.run import fuse_files

    return fuse_files(
        recipe,
        command=shlex.join(["qr", *typed()]),
        overwrite=call.overwrite,
        resume=call.resume,
        say=watch.record,
        step=watch.step,
        tick=watch.tiles,
        listener=watch,
    )


def _many(call: Call[Fuse]) -> None:
    recipe = call.recipe
    if len(recipe.pair.pairs) > 1:
        raise typer.BadParameter("give one list of pairs, or - for stdin")
    if recipe.job.num_processes > 1 and not is_child():
        relaunch(typed(), processes=recipe.job.num_processes)
    from qr_cli.engine.sharing import told
    from qr_cli.fuse.scenes import each, lines_of

    lines = told(lambda: lines_of(recipe.pair.pairs[0]), "cpu")
    quiet = FuseWatch(out, silent=True)
    worst, failed = 0, 0
    rows = []
    for record, code in each(lines, recipe, lambda one: _one(one, call, quiet)):
        out.record(record)
        out.value(str(record.get("out") or record["id"]))
        worst, failed = max(worst, code), failed + bool(code)
        fault = record.get("error", {}).get("message", "")
        rows.append([record["id"], str(record.get("out", "-")), fault or "done"])
    out.table("pairs", ["id", "out", "how it went"], rows)
    if failed:
        fault = DataError(f"{failed} of {len(lines)} pairs failed")
        fault.exit_code = 3
        raise fault


def _text(value: Any) -> str:
    if isinstance(value, dict):  # a grid
        nm = value["wavelengths_nm"]
        known = [_text(v) for key, v in value.items() if v is not None and key != "wavelengths_nm"]
        return ", ".join([*known, *([f"{nm[0]:g} to {nm[1]:g} nm"] if nm else [])])
    if isinstance(value, list):
        return " x ".join(map(str, value))
    return "-" if value is None else str(value)


app = recipe_app(
    Fuse,
    command,
    task="fuse",
    command="qr fuse",
    help="Fuse a hyperspectral with a multispectral image, knowing nothing of the sensors.\n\n"
    "The default method is a closed form: seconds on a CPU, any size. adasr is the published "
    "network method; on every scene we measured it gave a worse image at every budget, so that "
    "its fast form starts from the closed form.",
    examples=[
        "qr fuse --hsi cube.mat --msi msi.tif --out fused.tif",
        "qr fuse --hsi a.hdr --msi b.tif --out f.tif --register msi --uncertainty u.tif",
        "qr fuse - --json < pairs.jsonl",
    ],
)
