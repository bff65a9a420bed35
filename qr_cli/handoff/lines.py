"""Lines as they arrive: what is there is taken, and nothing is waited for."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from qr_cli.engine.damage import damaged
from qr_cli.errors import DataError
from qr_cli.handoff.mhch import LINE_LIMIT

BURST = 256  # lines that are answered together
CHUNK = 1 << 16  # bytes of one read


def bursts(source: str) -> Iterator[list[str]]:
    """Yield lines of a file, or of stdin for "-", in lists of those that can be read at once.

    A line over 10 MiB is cut just above that, so that its reader refuses it.

    Raises:
        DataError: the file cannot be read.
    """
    if source == "-":
        yield from _split(sys.stdin.fileno())
        return
    with damaged(source):
        descriptor = os.open(source, os.O_RDONLY)
    try:
        yield from _split(descriptor)
    finally:
        os.close(descriptor)


def _split(descriptor: int) -> Iterator[list[str]]:
    rest, overlong = b"", False
    while chunk := _read(descriptor):
        *whole, rest = (rest + chunk).split(b"\n")
        if overlong and whole:  # the end of a line that was answered already
            whole, overlong = whole[1:], False
        for first in range(0, len(whole), BURST):
            yield [_text(line) for line in whole[first : first + BURST]]
        if overlong:
            rest = b""
        elif len(rest) > LINE_LIMIT:
            yield [_text(rest)]
            rest, overlong = b"", True
    if rest:
        yield [_text(rest)]


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, CHUNK)
    except IsADirectoryError as error:
        raise DataError("INPUT is a folder; give a file of JSON lines, or -") from error


def _text(line: bytes) -> str:
    return line.decode("utf-8", errors="replace").removeprefix("\ufeff")
