"""Shell completion of values: the words of a choice, the names of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from qr_cli.cli.list import KINDS
from qr_cli.engine.resolve import Leaf

_TABLES = {"--module": "modules", "--arch": "archs", "--data": "data", "--test-data": "data"}


def completion(leaf: Leaf) -> Callable[[str], list[str]] | None:
    """Return what completes a leaf's value, or None where only the shell can (files)."""
    if leaf.choices:
        return lambda incomplete: starting(incomplete, map(str, leaf.choices))
    if leaf.flag not in _TABLES:
        return None
    _, rows = KINDS[_TABLES[leaf.flag]]
    return lambda incomplete: starting(
        incomplete, (row["name"].removesuffix("NAME") for row in rows())
    )


def starting(typed: str, names: Iterable[str]) -> list[str]:
    """Return the names that begin with what is typed."""
    return [name for name in names if name.startswith(typed)]
