"""`qr train handoff`."""

from __future__ import annotations

from qr_cli.cli.options import Call, recipe_app
from qr_cli.cli.output import out
from qr_cli.cli.plan import show_plan
from qr_cli.cli.progress import shown
from qr_cli.cli.training import train_each
from qr_cli.handoff.recipe import Handoff


def command(call: Call[Handoff]) -> None:
    """Show the plan, start ranks, or train one run per seed."""
    recipe = call.recipe
    if call.dry_run:
        from qr_cli.handoff.plan import plan

        show_plan(call, plan(recipe), [])
        return
    rows, folders = [], []
    for finished in train_each(call, "qr_cli.handoff.task:HandoffTask"):
        result = finished.result
        figures = [shown(key, result.get(f"best_val_{key}")) for key in ("f1", "macro_f1", "auc")]
        rows.append([str(finished.folder), *figures, str(result.get("best_epoch", "-"))])
        folders.append(str(finished.folder))
        out.value(str(finished.folder))
    title = "validation dialogues, at their own best threshold and epoch"
    out.table(title, ["run", "F1>", "Macro-F1>", "AUC>", "at>"], rows)
    out.hint(f"qr eval handoff {' '.join(folders)} --data FILE")
    out.hint(f"qr handoff dialogues.jsonl --checkpoint {folders[0]}")


app = recipe_app(
    Handoff,
    command,
    task="handoff",
    command="qr train handoff",
    help="Train a model that says when a human should take over.\n\n"
    "Data are JSON lines, one dialogue each: see qr data mhch.",
    examples=[
        "qr train handoff --data my.jsonl",
        "qr train handoff --recipe makeup2-gru-cem --data train.jsonl --val dev.jsonl",
        "qr train handoff --data my.jsonl --no-cem --seeds 0,1,2",
    ],
)
