"""`qr generate`."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from qr_cli.cli.options import Call, recipe_app, typed
from qr_cli.cli.output import out
from qr_cli.engine.launch import is_child, relaunch
from qr_cli.errors import QrError
from qr_cli.generate.extra import prepare
from qr_cli.generate.sample_recipe import Generate

Record = dict[str, Any]


def command(call: Call[Generate]) -> None:
    """Show the plan, or draw every prompt."""
    recipe = call.recipe
    prepare()
    if call.dry_run:
        _plan(recipe)
        return
    if recipe.job.num_processes > 1 and not is_child():
        relaunch(typed(), processes=recipe.job.num_processes)
    from qr_cli.generate.sample import generate

    found: list[Record] = []
    with ExitStack() as stack:
        stack.callback(_show, found)
        for record in generate(recipe, overwrite=call.overwrite, resume=call.resume):
            out.record(record)
            if "image" in record:
                out.value(record["image"])
            if not out.streams or "error" in record:  # a stream may have no end
                found.append(record)
    _raise_worst(found)


def _plan(recipe: Generate) -> None:
    from qr_cli.generate.sample import plan

    found = plan(recipe)
    out.record({**found, "recipe": recipe.model_dump(mode="json")})
    rows = [[k.replace("_", " "), "-" if v is None else str(v)] for k, v in found.items()]
    out.table("plan", ["", "value"], rows[1:])
    out.value(recipe.job.out)


def _show(records: list[Record]) -> None:
    """Show a row per picture, and where the grid lies."""
    rows = [
        [r["id"], r["variant"], f"{r['eta']:g}", str(r["seed"]), r["image"] + _mark(r)]
        for r in records
        if r.get("event") == "picture"
    ]
    rows += [[r["id"], "-", "-", "-", r["error"]["message"]] for r in records if "error" in r]
    if rows:
        out.table("pictures", ["id", "variant", "eta>", "seed>", "picture"], rows)
    for record in records:
        if record.get("event") == "grid" and not out.streams:
            out.hint(f"open {record['image']}")


def _mark(record: Record) -> str:
    return " (flagged)" if record["flagged"] else " (kept)" if record.get("kept") else ""


def _raise_worst(records: list[Record]) -> None:
    """End with the exit code of the worst prompt, if any failed."""
    faults = [record["error"] for record in records if "error" in record]
    if not faults:
        return
    fault = QrError(
        faults[0]["message"] if len(faults) == 1 else f"{len(faults)} prompts could not be drawn",
        hint=faults[0]["hint"],
    )
    fault.exit_code = max(one["exit_code"] for one in faults)
    raise fault


app = recipe_app(
    Generate,
    command,
    task="generate",
    command="qr generate",
    help="Draw what a sentence says, with and without a SUR-adapter.\n\n"
    "The base and the adapter that ship with qr draw handwritten digits in six tints: a test-bed "
    "that says nothing about Stable Diffusion. --base takes any diffusers folder of SD 1.x or 2.x. "
    "Nothing is downloaded.",
    examples=[
        'qr generate "a number for the legs of a spider in the same colour as milk" --compare',
        "qr generate --prompts prompts.txt --base sd15 --adapter sur --eta 0.1 --steps 30",
        "qr generate - --json < prompts.jsonl",
    ],
)
