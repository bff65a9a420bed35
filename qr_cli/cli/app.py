"""The root command, and the only try/except of the command line."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from io import TextIOWrapper, UnsupportedOperation
from itertools import takewhile
from typing import Annotated, NoReturn

import typer

from qr_cli import __version__
from qr_cli.cli.faults import OUT_OF_MEMORY, translate
from qr_cli.cli.lazy import Stub, epilog, lazy_app
from qr_cli.cli.output import out
from qr_cli.errors import Interrupted, QrError
from qr_cli.registry import only_code_of

_DO, _LOOK = "Do", "Look"
app = lazy_app(
    {
        "train": Stub("qr_cli.cli.train:app", "Train a model from a recipe or from flags.", _DO),
        "eval": Stub("qr_cli.cli.eval:app", "Evaluate and compare what was trained.", _DO),
        "fuse": Stub("qr_cli.cli.fuse:app", "Fuse hyperspectral with multispectral images.", _DO),
        "generate": Stub("qr_cli.cli.generate:app", "Draw what a sentence says.", _DO),
        "solve-geo": Stub("qr_cli.cli.solve_geo:app", "Solve and prove plane geometry.", _DO),
        "handoff": Stub("qr_cli.cli.handoff:app", "Decide when a human should take over.", _DO),
        "reparam": Stub(
            "qr_cli.cli.reparam:app", "Fold a network, prove that nothing changed.", _DO
        ),
        "data": Stub("qr_cli.cli.data:app", "Make, convert and check data sets.", _LOOK),
        "list": Stub("qr_cli.cli.list:app", "List modules, archs, data and recipes.", _LOOK),
    },
    help="Train, evaluate and use ten published methods from the command line.",
    add_completion=True,
    epilog=epilog(
        [
            "qr train attention --arch resnet20 --module lsas",
            'qr solve-geo --text "In triangle ABC, AB = AC and angle A = 50°. Find angle B."',
            "qr list modules --json",
        ]
    ),
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"qr {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version and exit.",
            callback=_show_version,
            is_eager=True,
            show_default=False,
        ),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def main() -> NoReturn:
    """Run the command line and exit."""
    sys.exit(run())


def run(arguments: list[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    _never_fail_on_characters()
    out.configure(as_json="--json" in words, no_color="--no-color" in words)
    try:
        with only_code_of(words):
            command = typer.main.get_command(app)
            code = command.main(args=words, prog_name="qr", standalone_mode=False)
        if code == Interrupted.exit_code:  # what Typer makes of Ctrl-C, without a word
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except (BrokenPipeError, SystemExit) as closed:  # Typer turns the first into the second
        if getattr(closed, "code", 1) != 1:
            raise
        # The reader has gone: say nothing, also not when the interpreter flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (KeyboardInterrupt, typer.Abort):
        fault: QrError = Interrupted("interrupted")
    except Exception as error:
        fault = translate(error)
        if os.environ.get("QR_DEBUG") and not isinstance(error, QrError):
            raise
    if fault.hint is None and not isinstance(fault, Interrupted):
        memory = fault.message == OUT_OF_MEMORY
        fault.hint = _LESS[words[0] == "train"] if memory else _help(words)
    if fault.message:  # a bare call has shown its help
        out.error(fault)
    return fault.exit_code


def _never_fail_on_characters() -> None:
    """Let bytes of stdin that are no UTF-8 reach the readers, which name their line.

    Half characters on stdout become escapes, as JSON has them.
    """
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "backslashreplace")):
        if isinstance(stream, TextIOWrapper):
            with suppress(UnsupportedOperation):  # a caller of ours has read from it already
                stream.reconfigure(errors=errors)


def _help(words: list[str]) -> str:
    """Return the help of the command: two words for a group, three for one inside a group."""
    depth = {"train": 2, "eval": 2, "list": 2, "data": 3}
    named = list(takewhile(lambda word: not word.startswith("-"), words))
    return " ".join(["qr", *named[: depth.get(named[0], 1) if named else 0], "--help"])


_LESS = {  # memory
    True: "halve --batch-size, double --accumulate",
    False: "free memory, or ask for less at once: --batch-size, --tile",
}
