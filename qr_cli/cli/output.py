"""The two channels: records on stdout, talk on stderr. The only place that prints.

stdout carries a table on a terminal and JSON lines in a pipe or with ``--json``; ``--quiet`` leaves
one path or value. stderr carries progress, warnings, hints and errors; whatever other libraries log
or warn ends there too.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from qr_cli.errors import QrError

Record = Mapping[str, Any]


class Output:
    """How this process speaks; one instance, `out`, set up by the command's flags."""

    def __init__(self) -> None:
        self.configure()

    def configure(
        self,
        *,
        as_json: bool = False,
        quiet: bool = False,
        verbose: bool = False,
        no_color: bool = False,
    ) -> None:
        """Set the mode.

        Args:
            as_json: JSON lines even on a terminal; errors are then JSON too.
            quiet: only the one path or value, and faults.
            verbose: debug lines, and where recipe values come from.
            no_color: plain text; the variable NO_COLOR says the same.
        """
        self.as_json, self.quiet, self.verbose = as_json, quiet, verbose
        self.muted = os.environ.get("RANK", "0") != "0"  # of several ranks the first one speaks
        self.color = not (no_color or os.environ.get("NO_COLOR"))
        self.streams = as_json or not sys.stdout.isatty()
        self._talk: Console | None = None

    def route_logs(self) -> None:
        """Send every logger and warning of this process to stderr, in our form."""
        if self.muted:
            logging.basicConfig(handlers=[logging.NullHandler()], force=True)
            return
        level = logging.DEBUG if self.verbose else logging.WARNING if self.quiet else logging.INFO
        handler = _Stderr(self)
        logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
        logging.getLogger("qr_cli").setLevel(level)
        logging.captureWarnings(True)
        if not sys.warnoptions:
            warnings.simplefilter("default" if self.verbose else "ignore")

    # stdout ---------------------------------------------------------------------------------

    def record(self, record: Record) -> None:
        """Print one JSON line where stdout is a stream; on a terminal tables tell it instead."""
        if self.streams and not self.quiet and not self.muted:
            print(json.dumps(record, ensure_ascii=False), flush=True)  # noqa: T201

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table on a terminal; where stdout is a stream the records have told it.

        A column name that ends in ">" is aligned to the right. Without rows the title stands alone.
        """
        if self.streams or self.quiet or self.muted:
            return
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        table = Table(box=SIMPLE_HEAD)
        for column in columns:
            name = column.removesuffix(">")
            right = column.endswith(">")
            table.add_column(name, justify="right" if right else "left", overflow="fold")
        for row in rows:
            table.add_row(*row)
        console = self._console(stderr=False)
        console.print(title, style="bold", markup=False)  # a table would break it at its own width
        if table.rows:
            console.print(table)

    def value(self, value: str) -> None:
        """Print the one path or value that ``--quiet`` leaves."""
        if self.quiet and not self.muted:
            print(value, flush=True)  # noqa: T201

    # stderr ---------------------------------------------------------------------------------

    @property
    def live(self) -> bool:
        """Whether a bar or a spinner may move: a person watches this very process."""
        return not (self.quiet or self.as_json or self.muted) and self.talk().is_terminal

    def say(self, text: str, *, style: str | None = None) -> None:
        """Print one line of talk."""
        talk = self.talk()
        talk.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def hint(self, text: str) -> None:
        """Say what to type next."""
        if not (self.quiet or self.as_json or self.muted):
            self.say(f"hint: {text}", style="dim")

    def error(self, error: QrError) -> None:
        """Say what is wrong and what to type, as text or as one JSON object."""
        if self.muted:
            return
        if self.as_json:
            fault = {"event": "error", "message": error.message, "hint": error.hint}
            line = json.dumps(fault | {"exit_code": error.exit_code}, ensure_ascii=False)
            print(line, file=sys.stderr)  # noqa: T201
            return
        for line in error.message.splitlines():
            self.say(f"qr: error: {line}", style="red")
        if error.hint:
            self.say(f"hint: {error.hint}", style="dim")

    def talk(self) -> Console:
        """Return the console of stderr."""
        if self._talk is None:
            self._talk = self._console(stderr=True)
        return self._talk

    def _console(self, *, stderr: bool) -> Console:
        from rich.console import Console

        return Console(stderr=stderr, no_color=not self.color, highlight=False)


class _Stderr(logging.Handler):
    """Log lines as talk: warnings carry their level, the rest is plain."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self.output = output

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.WARNING:
            text = f"qr: {record.levelname.lower()}: {' '.join(text.split())}"
        self.output.say(text, style="yellow" if record.levelno >= logging.WARNING else None)


out = Output()
