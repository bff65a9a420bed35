"""How a run is watched: bars on a terminal, one plain line per epoch otherwise."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qr_cli.cli.output import Output

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

log = logging.getLogger("qr_cli")
SHARES = ("top1", "top5", "accuracy", "f1", "auc", "figure")  # per cent for people, else in [0, 1]
FIRST = ("top1", "accuracy")  # those of an epoch's line


class Watch:
    """A listener of `engine.loop.fit` that speaks through an `Output`; a context manager."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.epochs = 0
        self._bars: Progress | None = None
        self._bar: TaskID | None = None

    def __enter__(self) -> Watch:
        if self.output.live:
            self._bars = bars(self.output)
            self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def record(self, record: Mapping[str, Any]) -> None:
        """Take a line of metrics.jsonl."""
        self.output.record(record)
        if record["event"] == "epoch" and "seconds" in record:  # else it was fitted, not trained
            log.info("%s", epoch_line(record, self.epochs))

    def tick(self, *, epoch: int, epochs: int, step: int, steps: int) -> None:
        """Take note that `step` of an epoch's `steps` updates are done."""
        self.epochs = epochs
        if self._bars is None:
            return
        if self._bar is None:
            self._bar = self._bars.add_task("training", total=epochs * steps)
        self._bars.update(
            self._bar,
            completed=(epoch - 1) * steps + step,
            description=f"epoch {epoch}/{epochs}",
        )


def bars(output: Output) -> Progress:
    """Return bars for the terminal on stderr: what is done, how much of it, time left."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
        console=output.talk(),
        transient=True,
        expand=True,
        redirect_stdout=False,  # records are not for this console
    )


def epoch_line(record: Mapping[str, Any], epochs: int) -> str:
    """Return an epoch as one line of a terminal: its main figures and its time."""
    figures = [
        f"{key.replace('_', ' ')} {shown(key, value)}"
        for key, value in record.items()
        if key == "loss" or key.endswith(FIRST)
    ]
    width = len(str(epochs))
    head = f"epoch {record['epoch']:>{width}}/{epochs}"
    return "  ".join([head, *figures, f"{record['seconds']:.0f} s"])


def shown(key: str, value: Any) -> str:
    """Return a figure as people read it: shares in per cent."""
    if value is None:
        return "-"
    if key.endswith(SHARES):
        return f"{100 * value:.2f} %"
    return f"{value:#.4g}".rstrip(".") if isinstance(value, float) else str(value)
