"""What a command is doing: a spinner on a terminal, one plain line per subject otherwise."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from qr_cli.cli.output import Output

if TYPE_CHECKING:
    from rich.live import Live

log = logging.getLogger("qr_cli")


class Status:
    """Takes `doing(subject, job)` and shows it on stderr; a context manager.

    On a terminal one line turns while the command works, and is gone when it ends. Elsewhere each
    subject is named once, when work on it begins.
    """

    def __init__(self, output: Output) -> None:
        self.output = output
        self._live: Live | None = None
        self._subject = ""

    def __enter__(self) -> Status:
        if self.output.live:
            from rich.live import Live
            from rich.spinner import Spinner

            self._live = Live(
                Spinner("dots", "starting"),
                console=self.output.talk(),
                transient=True,
                redirect_stdout=False,  # records are not for this console
            )
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.stop()

    def doing(self, subject: str, job: str) -> None:
        """Say what is about to be done, and of what."""
        if self._live is not None:
            from rich.spinner import Spinner

            self._live.update(Spinner("dots", f"{subject}: {job}"))
        elif subject != self._subject:
            log.info("%s: %s", subject, job)
        self._subject = subject
