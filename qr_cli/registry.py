"""Names and what they stand for: tables of strings, so that listing a name imports nothing.

An entry is added by one file and one line. Third parties add theirs through an entry point of the
table's group, or are named directly as ``package.module:Class``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, NamedTuple

from qr_cli.errors import UsageError, near


class Entry(NamedTuple):
    """Where a name lives (``module:object``) and what it is, in one line."""

    target: str
    summary: str


@dataclass(frozen=True)
class Registry:
    """A table of names of one kind.

    Args:
        kind: what the names stand for, in the singular ("module").
        entries: name to `Entry`.
        group: entry-point group in which third parties add theirs.
        listing: the command that prints the table.
    """

    kind: str
    entries: Mapping[str, Entry]
    group: str
    listing: str
    _foreign: dict[str, Entry] = field(default_factory=dict, repr=False)

    def __iter__(self) -> Iterator[str]:
        return iter(self.all())

    def __contains__(self, name: str) -> bool:
        return name in self.all()

    def all(self) -> dict[str, Entry]:
        """Return the shipped entries, then those of installed third-party packages."""
        if not self._foreign:
            from importlib.metadata import entry_points

            for point in entry_points(group=self.group):
                self._foreign[point.name] = Entry(point.value, f"from {point.value}")
        return {**self._foreign, **self.entries}

    def load(self, name: str) -> Any:
        """Import what `name` stands for.

        Raises:
            UsageError: the name is unknown, or ``package.module:Class`` cannot be imported.
        """
        if name in self.entries:
            return import_target(self.entries[name].target)
        if ":" in name:
            return import_foreign(name)
        table = self.all()
        if name in table:
            return import_target(table[name].target)
        raise UsageError(f"unknown {self.kind} {name!r}{near(name, table)}", hint=self.listing)


_NAMED = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_asked: frozenset[str] | None = None  # the targets that may be imported; None: any


@contextmanager
def only_code_of(words: Iterable[str]) -> Iterator[None]:
    """Let only targets that these words name be imported in the block, and those of ``QR_TRUST``.

    A name that a user types is asked for; one that stands in a recipe or a checkpoint is not. A
    block inside another adds nothing.
    """
    global _asked
    before = _asked
    _asked = frozenset(_NAMED.findall(" ".join(words))) if before is None else before
    try:
        yield
    finally:
        _asked = before


def import_foreign(target: str) -> Any:
    """Import what somebody else's ``module:object`` stands for, if it was asked for.

    Raises:
        UsageError: a file names it and nobody asked, or it cannot be imported.
    """
    module = target.partition(":")[0]
    package = module.partition(".")[0]
    trusted = module == "torch.nn" or package in os.environ.get("QR_TRUST", "").split(",")
    if _asked is not None and target not in _asked and not trusted:
        raise UsageError(
            f"{target!r} is code that a file names; nobody asked for it, so it is not run",
            hint=f"QR_TRUST={package} in the environment, if you trust it",
        )
    return import_target(target)


def import_target(target: str) -> Any:
    """Import ``module:object``; a target that is not there is a `UsageError`."""
    module, _, attribute = target.partition(":")
    if not (module and attribute) or module.startswith("."):
        raise UsageError(f"{target!r} names no object", hint="give package.module:Class")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"cannot import {target!r}: no module named {error.name!r}",
            hint="give package.module:Class; the folder must be on PYTHONPATH",
        ) from error
    except AttributeError as error:
        raise UsageError(f"cannot import {target!r}: {module} has no {attribute!r}") from error
