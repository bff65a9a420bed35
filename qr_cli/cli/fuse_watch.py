"""How a fusion is watched: a bar over tiles with the time left, one line per step otherwise."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qr_cli.cli.output import Output
from qr_cli.cli.progress import bars

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

log = logging.getLogger("qr_cli")


class FuseWatch:
    """Takes records, steps and tiles; a context manager."""

    def __init__(self, output: Output, *, silent: bool = False) -> None:
        self.output, self.silent = output, silent
        self._bars: Progress | None = None
        self._bar: TaskID | None = None
        self._tenth = 0

    def __enter__(self) -> FuseWatch:
        if self.output.live and not self.silent:
            self._bars = bars(self.output)
            self._bars.start()
            self._bar = self._bars.add_task("reading", total=None)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def record(self, record: Mapping[str, Any]) -> None:
        """Take a record; a list of pairs prints its own."""
        if not self.silent:
            self.output.record(record)

    def step(self, what: str) -> None:
        """Say what is being done."""
        if self._bars is not None and self._bar is not None:
            self._bars.update(self._bar, description=what, total=None, completed=0)
        else:
            log.debug("%s", what)

    def tiles(self, done: int, total: int) -> None:
        """Take note that tiles are done."""
        if self._bars is not None and self._bar is not None:
            self._bars.update(self._bar, completed=done, total=total)
        elif total > 1 and not self.silent and 10 * done // total > self._tenth:
            self._tenth = 10 * done // total
            log.info("tiles %d/%d", done, total)

    def tick(self, *, epoch: int, epochs: int, step: int, steps: int) -> None:
        """Take note of training."""
        if self._bars is not None and self._bar is not None:
            self._bars.update(self._bar, completed=(epoch - 1) * steps + step, total=epochs * steps)

    def summary(self, record: Mapping[str, Any]) -> None:
        """Show what came of it, on a terminal, and what to type next."""
        shown = {
            "method": record["method"],
            "rows x columns x bands": " x ".join(map(str, record["shape"])),
            "ratio": f"{record['ratio']:g}",
            "left of the HSI (relative)": _share(record["consistency_hsi_rel"]),
            "left of the MSI (relative)": _share(record["consistency_msi_rel"]),
            "CPU time": f"{record['cpu_seconds']:.1f} s",
            "memory": f"{record['max_rss_mib']} MiB",
        }
        out = self.output
        out.table(
            f"fused: {record['out']}", ["", "value>"], [[k, str(v)] for k, v in shown.items()]
        )
        out.value(str(record["out"]))
        out.hint(
            f"qr eval fuse --fused {record['out']} --reference TRUTH --ratio {record['ratio']:g}"
        )


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"
