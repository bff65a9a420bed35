"""What every `qr train` does: start ranks, or train one run per seed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from qr_cli.cli.options import Call, typed
from qr_cli.cli.output import out
from qr_cli.cli.progress import Watch
from qr_cli.engine.launch import is_child, prepare_environment, relaunch
from qr_cli.registry import import_target

if TYPE_CHECKING:
    from qr_cli.engine.train import Finished


def train_each(call: Call[Any], task: str) -> Iterator[Finished]:
    """Yield finished runs; with several processes the ranks do this, and this one waits for them.

    Args:
        call: what was typed.
        task: "module:name" of what makes a task of a recipe.
    """
    run = call.recipe.run
    if run.num_processes > 1 and not is_child():
        relaunch(typed(), processes=run.num_processes)
    prepare_environment(deterministic=run.deterministic)
    from qr_cli.engine.train import train

    made = import_target(task)
    for recipe in call.recipe.per_seed():
        with Watch(out) as watch:
            finished = train(
                recipe,
                made,
                watch,
                command=shlex.join(["qr", *typed()]),
                resume=call.resume,
                overwrite=call.overwrite,
            )
        yield finished
