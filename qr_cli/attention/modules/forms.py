"""What the source of a module says about its options, read without importing it (so no torch).

A module's keyword-only arguments of ``__init__`` are its options; their annotations (types and
`Literal` words) and defaults, and the class attributes of the contract (`limits`, `constant_input`,
`scope`), are literals. This file reads them from the syntax tree, so that there is one truth for
the class, the check of a module string and its canonical text.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

from qr_cli.attention.names import MODULES
from qr_cli.registry import Registry

Value = int | float | bool | str | None


@dataclass(frozen=True)
class Option:
    """A keyword-only argument: its default, the types it takes and the words it takes."""

    default: Value
    types: frozenset[str]
    words: tuple[Value, ...] = ()

    def accepts(self, value: Value) -> bool:
        """Return whether `value` is of a type (an integer is also a float) or one of the words."""
        kind = "None" if value is None else type(value).__name__
        if kind in self.types or (kind == "int" and "float" in self.types):
            return True
        return any(value == word and type(value) is type(word) for word in self.words)

    def typed(self, value: Value) -> Value:
        """Return an integer as a number with a point where only such a one is meant."""
        whole = isinstance(value, int) and not isinstance(value, bool)
        return float(value) if whole and self.types == {"float"} else value  # type: ignore[arg-type]

    def expected(self) -> str:
        """Return what is accepted, in words."""
        names = {"int": "an integer", "float": "a number", "bool": "true or false", "str": "text"}
        kinds = [names.get(t, "none") for t in sorted(self.types)]
        return " or ".join([*(str(word) for word in self.words), *kinds])


@dataclass(frozen=True)
class Form:
    """What the source of a module says: options and the class attributes of the contract."""

    options: dict[str, Option]
    limits: dict[str, tuple[float, float]]
    has_logits: bool
    constant_input: str
    constant_reason: str
    scope: str


def form(name: str, table: Registry = MODULES) -> Form | None:
    """Return the form of a registered module of `qr_cli`, read from its source, else None."""
    entry = table.entries.get(name)
    return None if entry is None else _read(entry.target)


@cache
def _read(target: str) -> Form:
    """Return the form of ``module:Class``."""
    module, _, class_name = target.partition(":")
    spec = find_spec(module)
    source = spec.loader.get_source(module) if spec and spec.loader else None  # type: ignore[attr-defined]
    for statement in ast.parse(source or "").body:
        if isinstance(statement, ast.ClassDef) and statement.name == class_name:
            return _read_class(statement)
    raise TypeError(f"{target} is not a class in the source of {module}")


def _read_class(body: ast.ClassDef) -> Form:
    """Read options and contract attributes from the source of a class."""
    values: dict[str, Any] = {}
    methods: dict[str, ast.FunctionDef] = {}
    for item in body.body:
        if isinstance(item, ast.FunctionDef):
            methods[item.name] = item
        elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            values[item.target.id] = _literal(item.value)
        elif isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name):
            values[item.targets[0].id] = _literal(item.value)
    options: dict[str, Option] = {}
    if "__init__" in methods:
        arguments = methods["__init__"].args
        for arg, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
            options[arg.arg] = _read_option(arg.annotation, default)
    return Form(
        options,
        values.get("limits") or {},
        "logits" in methods,
        values.get("constant_input") or "ok",
        values.get("constant_reason") or "",
        values.get("scope") or "block",
    )


def _literal(node: ast.expr | None) -> Any:
    try:
        return None if node is None else ast.literal_eval(node)
    except ValueError:
        return None


def _read_option(annotation: ast.expr | None, default: ast.expr | None) -> Option:
    """Read ``int | Literal["auto"]``-like annotations: types and words."""
    types: set[str] = set()
    words: list[Value] = []
    parts = [annotation]
    while parts:
        part = parts.pop(0)
        if isinstance(part, ast.BinOp):
            parts = [part.left, part.right, *parts]
        elif isinstance(part, ast.Subscript):
            inner = part.slice
            words += [ast.literal_eval(e) for e in getattr(inner, "elts", [inner])]
        elif isinstance(part, ast.Name):
            types.add(part.id)
        elif isinstance(part, ast.Constant):
            types.add("None")
    return Option(_literal(default), frozenset(types), tuple(words))
