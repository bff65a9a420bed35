"""`qr train geo`."""

from __future__ import annotations

from qr_cli.cli.options import Call, recipe_app
from qr_cli.cli.output import out
from qr_cli.cli.plan import show_plan
from qr_cli.cli.progress import shown
from qr_cli.cli.training import train_each
from qr_cli.geo.train_recipe import GeoTrain


def command(call: Call[GeoTrain]) -> None:
    """Show the plan, start ranks, or train one run per seed."""
    recipe = call.recipe
    if call.dry_run:
        from qr_cli.geo.plan import plan

        show_plan(call, plan(recipe), [])
        return
    rows, folders = [], []
    for finished in train_each(call, "qr_cli.geo.task:task_of"):
        result = finished.result
        rows.append(
            [
                str(finished.folder),
                shown("figure", result.get("best_figure")),
                str(result.get("best_epoch", "-")),
            ]
        )
        folders.append(str(finished.folder))
        out.value(str(finished.folder))
    title = "mean of acc@1 and valid@1 on held-out problems, greedy, at the best epoch"
    out.table(title, ["run", "figure>", "at>"], rows)
    out.hint(f"qr eval geo FILE --solver network --checkpoint {folders[0]}")
    out.hint(f"qr solve-geo problems.jsonl --checkpoint {folders[0]}")


app = recipe_app(
    GeoTrain,
    command,
    task="geo",
    command="qr train geo",
    help="Train a network that writes programs and proofs (Geoformer, MEP).\n\n"
    "Without files it learns from generated problems, none of them seen twice.",
    examples=[
        "qr train geo --recipe tiny-smoke",
        "qr train geo --recipe finetune-own --train mine.jsonl --val dev.jsonl",
        "qr train geo --recipe unigeo-official --weights t5-base --train train.jsonl",
    ],
)
