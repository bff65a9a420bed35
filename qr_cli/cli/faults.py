"""Whatever a command raises, as one sentence with a hint and an exit code.

A library may say in words of its own, or a room in words about its input, what is a refusal of the
machine: the whole chain of an error is looked at for a full disk and for missing memory.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator

import typer

from qr_cli.errors import EXTRAS, EnvironmentFault, MissingExtra, QrError, UsageError

OUT_OF_MEMORY = "out of memory"


def translate(error: Exception) -> QrError:
    """Return an error of ours, of Typer, of the machine, or a bug, as a fault to be told."""
    if isinstance(error, _USAGE):
        context = getattr(error, "ctx", None)
        message = getattr(error, "format_message", error.__str__)().rstrip(".")
        for pattern, words in _WORDS:
            message = re.sub(pattern, words, message)
        hint = f"{context.command_path} --help" if context else None
        return UsageError(message[:1].lower() + message[1:], hint=hint)
    if isinstance(error, EnvironmentFault):
        return error
    refusal = next(filter(None, map(_refusal, _chain(error))), None)
    if refusal is not None:
        return refusal
    if isinstance(error, QrError):
        return error
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").partition(".")[0]
        if package in EXTRAS:
            return MissingExtra(package, EXTRAS[package])
    if isinstance(error, OSError) and error.errno is not None:
        return _of_system(error.errno, error.filename)
    return QrError(
        f"{type(error).__name__}: {_text(error)[:300]} (this is a bug in qr)",
        hint="set QR_DEBUG=1 to see where",
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those it came from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _refusal(error: BaseException) -> EnvironmentFault | None:
    """Return what the machine refused, where an error says that: memory or room on the disk."""
    text = _text(error)
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, MemoryError) or number == errno.ENOMEM or _NO_MEMORY.search(text):
        return EnvironmentFault(OUT_OF_MEMORY)
    if number in _FULL and isinstance(error, OSError):
        return _of_system(number, error.filename)
    if found := _BY_RUST.search(text):
        return _of_system(int(found[1]), None)
    if "inline_container" in text or "unexpected pos" in text:  # torch does not say why
        return EnvironmentFault("cannot use a file: it cannot be written; is the disk full?",
                                hint=_ROOM)  # fmt: skip
    return None


def _of_system(number: int, file: str | bytes | None) -> EnvironmentFault:
    where = f" {os.fsdecode(file)}" if file else " a file"
    hint = _ROOM if number in _FULL else _RIGHTS.get(number, "see that it is there")
    return EnvironmentFault(f"cannot use{where}: {os.strerror(number)}", hint=hint)


def _text(error: BaseException) -> str:
    return " ".join(str(error).split())


_ROOM = "make room, or write elsewhere: --out"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_RIGHTS = dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "write elsewhere: --out")
_BY_RUST = re.compile(r"\(os error (28|122|27|30|13)\)$")  # safetensors; of writing
_NO_MEMORY = re.compile(
    "out of memory|can't allocate|[Cc]annot allocate memory|bad_alloc|failed to map segment"
    "|could not create a (?:primitive|memory)"  # the last are oneDNN's
)
_WORDS = (  # Typer's ways to say it, and ours
    (r"\.? (?:Did you mean|\(Possible options:) (.*?)[?)]*$", r" (did you mean \1?)"),
    (r"Got unexpected extra argument(?:\(s\)|s)? \((.*)\)", r"unexpected argument: \1"),
)
# Typer's public names include BadParameter only; its base is what every usage fault is.
_USAGE = typer.BadParameter.__bases__[0]
