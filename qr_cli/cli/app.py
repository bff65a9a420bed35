"""The root command, and the only try/except of the command line."""

from __future__ import annotations

import os
import re
import sys
from io import TextIOWrapper
from typing import Annotated, NoReturn

import typer

from qr_cli import __version__
from qr_cli.cli.lazy import Stub, lazy_app
from qr_cli.cli.output import out
from qr_cli.errors import EnvironmentFault, Interrupted, QrError, UsageError
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
    epilog="[bold]Examples[/bold]\n\n  qr train attention --arch resnet20 --module lsas"
    "\n\n  qr eval attention runs/attention/lsas-s0\n\n  qr list modules --json",
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
            metavar=" ",
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
        return code if isinstance(code, int) else 0
    except (BrokenPipeError, SystemExit) as closed:  # Typer turns the first into the second
        if getattr(closed, "code", 1) != 1:
            raise
        # The reader has gone: say nothing, also not when the interpreter flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (KeyboardInterrupt, typer.Abort):
        fault: QrError = Interrupted("interrupted")
    except QrError as error:
        fault = error
    except Exception as error:
        fault = _translate(error)
        if os.environ.get("QR_DEBUG"):
            raise
    if fault.hint is None and not isinstance(fault, Interrupted):
        command = [word for word in words[:2] if not word.startswith("-")]
        fault.hint = " ".join(["qr", *command, "--help"])
    if fault.message:  # a bare call has shown its help
        out.error(fault)
    return fault.exit_code


def _never_fail_on_characters() -> None:
    """Let bytes of stdin that are no UTF-8 reach the readers, which name their line.

    Half characters on stdout become escapes, as JSON has them.
    """
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "backslashreplace")):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=errors)


def _translate(error: Exception) -> QrError:
    """Return an error of Typer, the machine or ourselves as a sentence with an exit code."""
    if isinstance(error, _USAGE):
        context = getattr(error, "ctx", None)
        message = getattr(error, "format_message", error.__str__)().rstrip(".")
        for pattern, words in _WORDS:
            message = re.sub(pattern, words, message)
        hint = f"{context.command_path} --help" if context else None
        return UsageError(message[:1].lower() + message[1:], hint=hint)
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or any(sign in text for sign in _NO_MEMORY):
        return EnvironmentFault("out of memory", hint="halve --batch-size, double --accumulate")
    if isinstance(error, OSError) and error.errno is not None:
        where = f" {error.filename}" if error.filename else ""
        return EnvironmentFault(f"cannot use{where}: {error.strerror}")
    return QrError(
        f"{type(error).__name__}: {text[:300]} (this is a bug in qr)",
        hint="set QR_DEBUG=1 to see where",
    )


_NO_MEMORY = ("out of memory", "can't allocate", "bad_alloc")
_WORDS = (  # Typer's ways to say it, and ours
    (r"\.? (?:Did you mean|\(Possible options:) (.*?)[?)]*$", r" (did you mean \1?)"),
    (r"Got unexpected extra argument(?:\(s\)|s)? \((.*)\)", r"unexpected argument: \1"),
)
# Typer's public names include BadParameter only; its base is what every usage fault is.
_USAGE = typer.BadParameter.__bases__[0]
