"""`qr train attention`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qr_cli.attention.recipe import Attention
from qr_cli.cli.options import Call, recipe_app
from qr_cli.cli.output import out
from qr_cli.cli.plan import show_plan
from qr_cli.cli.progress import shown
from qr_cli.cli.training import train_each

if TYPE_CHECKING:
    from qr_cli.engine.train import Finished


def command(call: Call[Attention]) -> None:
    """Show the plan, start ranks, or train one run per seed."""
    recipe = call.recipe
    if call.dry_run:
        from qr_cli.attention.summary import summarize

        show_plan(call, *summarize(recipe))
        return
    _show(list(train_each(call, "qr_cli.attention.task:AttentionTask")))


def _show(finished: list[Finished]) -> None:
    rows = [
        [
            str(run.folder),
            shown("top1", run.result.get("last_top1")),
            shown("top1", run.result.get("best_top1")),
            str(run.result.get("best_epoch", "-")),
        ]
        for run in finished
    ]
    selected = finished[0].result.get("best_selected_on", "test")
    out.table(
        f"top-1 accuracy on the test split (best: selected on {selected})",
        ["run", "last epoch>", "best epoch>", "at>"],
        rows,
    )
    for run in finished:
        out.value(str(run.folder))
    out.hint(f"qr eval attention {' '.join(str(run.folder) for run in finished)}")
    out.hint(f"open {finished[0].folder / 'report.html'}")


app = recipe_app(
    Attention,
    command,
    task="attention",
    command="qr train attention",
    help="Train an image classifier with an attention module.\n\n"
    "Without options: resnet20 with se on generated images, nothing is downloaded.",
    examples=[
        "qr train attention --arch resnet20 --module lsas",
        "qr train attention --module none --data folder:flowers --seeds 0,1,2",
        "qr train attention --recipe cifar10-jpeg --data my-cifar --dry-run",
    ],
)
