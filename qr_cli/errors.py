"""What can go wrong, in words a user can act on.

Every fault a user can mend is a `QrError`: one sentence that names the offending value, a hint to
type, and an exit code. Each class is also the builtin a Python caller would catch. A fault of the
program itself stays an ordinary exception (exit 1, "bug").
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class QrError(Exception):
    """A fault the user can mend.

    Args:
        message: one lower-case sentence with the offending value.
        hint: something to type or to look at.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(QrError, ValueError):
    """Flags or a recipe that cannot be meant (exit 2)."""

    exit_code = 2


class RecipeError(UsageError):
    """All faults of a recipe at once, one line each (exit 2)."""

    def __init__(self, faults: Iterable[str], *, hint: str | None = None) -> None:
        self.faults = list(faults)
        super().__init__("\n".join(self.faults), hint=hint)


class DataError(QrError, ValueError):
    """Input data that cannot be used (exit 3)."""

    exit_code = 3


class WeightsError(QrError, ValueError):
    """Weights or a checkpoint that do not fit (exit 4)."""

    exit_code = 4


class EnvironmentFault(QrError, RuntimeError):
    """The machine lacks something: memory, a device, disk, permission (exit 5)."""

    exit_code = 5


class MissingExtra(EnvironmentFault):
    """An optional package is not installed (exit 5)."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"this needs the package {package}, which is not installed",
            hint=f"pip install 'qr-cli[{extra}]'",
        )


EXTRAS = {  # package as imported -> the extra that brings it
    "timm": "timm",
    "onnx": "onnx",
    "onnxscript": "onnx",
    "onnxruntime": "onnx",
    "scipy": "fuse",
    "h5py": "fuse",
    "rasterio": "fuse",
    "spectral": "fuse",
    "sympy": "geo",
    "sklearn": "handoff",
    "jieba": "handoff",
    "transformers": "bert",
    "diffusers": "generate",
    "tensorboard": "tracking",
}


class RunFailed(QrError, RuntimeError):
    """The run itself failed: a loss that is not finite, a result that is not equal (exit 6)."""

    exit_code = 6


class Interrupted(QrError):
    """Ctrl-C or SIGTERM; what was done so far is saved (exit 130)."""

    exit_code = 130


def near(word: str, names: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the nearest of `names`, or nothing."""
    found = get_close_matches(word.lower(), list(names), n=1, cutoff=0.6)
    return f" (did you mean {found[0]!r}?)" if found else ""
