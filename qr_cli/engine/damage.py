"""What readers of files raise on bytes that are none of their own, as one sentence.

A damaged file makes a third party's reader raise whatever the bytes lead it to. Around a reader,
and nowhere else, all of that is the same fault: this file cannot be read.
"""

from __future__ import annotations

import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from qr_cli.errors import DataError, QrError

FAULTS: tuple[type[Exception], ...] = (
    OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, AssertionError,
    ArithmeticError, RuntimeError, ImportError, MemoryError, SyntaxError, SystemError,
    pickle.UnpicklingError, struct.error, zipfile.BadZipFile, zlib.error, yaml.YAMLError,
)  # fmt: skip
LONGEST = 160  # letters of a reason


def reason(error: BaseException) -> str:
    """Return in one line what an error says."""
    if isinstance(error, UnicodeDecodeError):
        return f"not {error.encoding.upper()} (byte {error.start})"
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split())[:LONGEST] or type(error).__name__


@contextmanager
def damaged(
    path: Path | str,
    kind: type[QrError] = DataError,
    *,
    also: tuple[type[Exception], ...] = (),
    hint: str | None = None,
) -> Iterator[None]:
    """Raise `kind` with the file's name for whatever a reader raises in the block.

    Args:
        path: the file that is read.
        kind: DataError, or WeightsError for weights.
        also: errors of a library that are none of Python's own.
        hint: something to type.
    """
    try:
        yield
    except QrError:
        raise
    except FileNotFoundError as error:
        raise kind(f"{path}: no such file", hint=hint) from error
    except FAULTS + also as error:
        raise kind(f"{path} cannot be read: {reason(error)}", hint=hint) from error
