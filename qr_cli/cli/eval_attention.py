"""`qr eval attention`."""

from __future__ import annotations

from qr_cli.attention.recipe import AttentionEval
from qr_cli.cli.options import Call, recipe_app
from qr_cli.cli.output import out
from qr_cli.cli.progress import shown


def command(call: Call[AttentionEval]) -> None:
    """Evaluate each run and show one row per run."""
    from qr_cli.attention.evaluate import evaluate

    rows = []
    for record in evaluate(call.recipe):
        out.record(record)
        out.value(str(record["top1"]))
        figures = [shown(key, record.get(key)) for key in ("top1", "top5", "loss")]
        rows.append([record["run"], record["module"], f"{record['parameters']:,}", *figures])
        note = record["data_note"]
    if rows and note:
        out.hint(note)
    out.table(
        f"test split, {call.recipe.target.which} checkpoint",
        ["run", "module", "parameters>", "top-1>", "top-5>", "loss>"],
        rows,
    )


app = recipe_app(
    AttentionEval,
    command,
    task="attention",
    command="qr eval attention",
    help="Evaluate trained image classifiers on their test data, or on other data.",
    examples=[
        "qr eval attention runs/attention/lsas-se-s0",
        "qr eval attention runs/attention/*-s0 --json",
        "qr eval attention runs/attention/se-s0 --which best --data npz:test.npz",
    ],
    writes_runs=False,
)
