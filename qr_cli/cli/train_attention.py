"""`qr train attention`."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from qr_cli.attention.recipe import Attention
from qr_cli.cli.options import Call, recipe_app, typed
from qr_cli.cli.output import out
from qr_cli.cli.plan import show_plan
from qr_cli.cli.progress import Watch, shown
from qr_cli.engine.launch import is_child, prepare_environment, relaunch

if TYPE_CHECKING:
    from qr_cli.engine.train import Finished


def command(call: Call[Attention]) -> None:
    """Show the plan, start ranks, or train one run per seed."""
    recipe = call.recipe
    if call.dry_run:
        from qr_cli.attention.summary import summarize

        show_plan(call, *summarize(recipe))
        return
    if recipe.run.num_processes > 1 and not is_child():
        relaunch(typed(), processes=recipe.run.num_processes, device=recipe.run.device)
    prepare_environment(deterministic=recipe.run.deterministic)
    from qr_cli.attention.task import AttentionTask
    from qr_cli.engine.train import train

    finished = []
    for one in per_seed(recipe):
        with Watch(out) as watch:
            finished.append(
                train(
                    one,
                    AttentionTask,  # type: ignore[arg-type]  # built from an Attention recipe
                    watch,
                    command=shlex.join(["qr", *typed()]),
                    resume=call.resume,
                    overwrite=call.overwrite,
                )
            )
    _show(finished)


def per_seed(recipe: Attention) -> list[Attention]:
    """Return one recipe per seed of --seeds, each with a run folder of its own."""
    if not recipe.run.seeds:
        return [recipe]
    name = recipe.run.name
    return [
        recipe.changed("run", seed=seed, seeds=(), name=name and f"{name}-s{seed}")
        for seed in recipe.run.seeds
    ]


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
