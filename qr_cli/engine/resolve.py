"""From defaults, a recipe file and flags to one validated recipe; all faults at once.

Precedence: defaults < file < flags. Imports no torch.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from qr_cli.engine.recipe import Recipe, Section
from qr_cli.errors import DataError, RecipeError, UsageError, near

R = TypeVar("R", bound=Recipe)


@dataclass(frozen=True)
class Leaf:
    """One setting of a recipe.

    Attributes:
        section: its section's field name; empty for a field of the recipe itself.
        key: its own field name.
        field: pydantic's record of it: annotation, default, description.
        title: the section's one-line description.
    """

    section: str
    key: str
    field: FieldInfo
    title: str

    @property
    def path(self) -> str:
        """Return the dotted key, as YAML nests it."""
        return f"{self.section}.{self.key}" if self.section else self.key

    @property
    def extra(self) -> dict[str, Any]:
        """Return what the field says about its flag."""
        extra = self.field.json_schema_extra
        return extra if isinstance(extra, dict) else {}

    @property
    def flag(self) -> str:
        """Return the flag: --key, or what the field carries."""
        return str(self.extra.get("flag", "--" + self.key.replace("_", "-")))

    @property
    def name(self) -> str:
        """Return the keyword of the Python API."""
        return self.flag.removeprefix("--").replace("-", "_")

    @property
    def kind(self) -> Any:
        """Return the annotation without None."""
        annotation = self.field.annotation
        if typing.get_origin(annotation) in (typing.Union, types.UnionType):
            inner = [a for a in typing.get_args(annotation) if a is not type(None)]
            return inner[0] if len(inner) == 1 else annotation
        return annotation

    @property
    def is_list(self) -> bool:
        """Tell whether the value is a tuple, written with commas."""
        return typing.get_origin(self.kind) is tuple

    @property
    def choices(self) -> tuple[Any, ...]:
        """Return the values of a Literal."""
        return typing.get_args(self.kind) if typing.get_origin(self.kind) is typing.Literal else ()

    def default(self) -> Any:
        """Return the default value."""
        return self.field.get_default(call_default_factory=True)


def leaves(recipe: type[Recipe]) -> list[Leaf]:
    """Return all settings of a recipe class that have a flag, in the order they are declared.

    Raises:
        TypeError: two of them share a flag.
    """
    found = list(_leaves(recipe))
    flags = [leaf.flag for leaf in found]
    twice = sorted({flag for flag in flags if flags.count(flag) > 1})
    if twice:
        raise TypeError(f"{recipe.__name__}: two settings share {', '.join(twice)}")
    return found


def _leaves(recipe: type[Recipe]) -> Iterator[Leaf]:
    for name, section in recipe.model_fields.items():
        kind = section.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            title = (kind.__doc__ or name).splitlines()[0].rstrip(".")
            for key, field in kind.model_fields.items():
                yield Leaf(name, key, field, title)
        elif name != "task":
            yield Leaf("", name, section, "")


def shipped(task: str) -> dict[str, Path]:
    """Return the recipes that come with qr for a task, by name."""
    package = Path(__file__).parents[1]
    for folder in (package / "recipes" / task, package.parent / "recipes" / task):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    return {}


def read_recipe(task: str, source: str) -> dict[str, Any]:
    """Return the nested values of a recipe file, or of a shipped recipe by name.

    Raises:
        UsageError: there is no such recipe.
        DataError: it is not YAML with keys at the top.
    """
    names = shipped(task)
    path = Path(source)
    if not path.is_file() and source in names:
        path = names[source]
    if path.is_dir():
        path = path / "recipe.yaml"
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise UsageError(
            f"--recipe: no file and no shipped recipe {source!r}{near(source, names)}",
            hint="qr list recipes",
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"--recipe: {path} cannot be read: {_one_line(error)}") from error
    if not isinstance(values, dict):
        raise DataError(f"--recipe: {path} holds no keys", hint="qr list recipes")
    return values


def resolve(
    recipe: type[R],
    *,
    file: Mapping[str, Any] | None = None,
    given: Mapping[str, Any] | None = None,
    command: str = "qr",
) -> R:
    """Return the recipe, validated.

    Args:
        recipe: the recipe class.
        file: nested values of a recipe file.
        given: values by dotted path, as flags give them; strings are parsed.
        command: what the user typed, for the hint.

    Raises:
        RecipeError: all faults, each naming its flag.
    """
    by_path = {leaf.path: leaf for leaf in leaves(recipe)}
    sections = {leaf.section for leaf in by_path.values()} - {""}
    values: dict[str, Any] = {
        key: dict(value) if isinstance(value, dict) else value
        for key, value in (file or {}).items()
        if value is not None or key not in sections  # "optim:" with nothing below it
    }
    for path, value in (given or {}).items():
        leaf = by_path[path]
        target = values.setdefault(leaf.section, {}) if leaf.section else values
        if isinstance(target, dict):  # else validation says what is wrong with the file
            target[leaf.key] = _split(value) if leaf.is_list else value
    try:
        return recipe.model_validate(values)
    except ValidationError as error:
        faults = [_fault(dict(fault), by_path) for fault in error.errors(include_url=False)]
        example = next((fault.example for fault in faults if fault.example), None)
        raise RecipeError(_sentences(faults), hint=example and f"{command} {example}") from None


def origins(file: Mapping[str, Any] | None, given: Mapping[str, Any] | None) -> dict[str, str]:
    """Return where each value that is no default comes from: "recipe" or "flag"."""
    from_file = {
        f"{key}.{sub}": "recipe"
        for key, section in (file or {}).items()
        if isinstance(section, dict)
        for sub in section
    }
    return from_file | dict.fromkeys(given or {}, "flag")


def by_name(recipe: type[Recipe], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return keywords of the Python API (flag names with underscores) as dotted paths.

    Raises:
        RecipeError: a keyword is unknown.
    """
    names = {leaf.name: leaf.path for leaf in leaves(recipe)}
    unknown = [key for key in values if key not in names]
    if unknown:
        raise RecipeError(f"unknown setting {key!r}{near(key, names)}" for key in unknown)
    return {names[key]: value for key, value in values.items()}


class _Fault(NamedTuple):
    """A fault: what it is about, what is wrong, the value, and a flag that would do."""

    subject: str
    message: str
    value: str = ""
    example: str | None = None


# pydantic's error types that have plainer words
_WORDS = {
    "int_type": "should be a whole number",
    "int_parsing": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_type": "should be a number",
    "float_parsing": "should be a number",
    "bool_type": "should be true or false",
    "bool_parsing": "should be true or false",
    "string_type": "should be text",
}


def _sentences(faults: list[_Fault]) -> Iterator[str]:
    """Yield one sentence per subject: a value of two types has two reasons to be wrong."""
    for subject, value in dict.fromkeys((fault.subject, fault.value) for fault in faults):
        messages = [f.message for f in faults if (f.subject, f.value) == (subject, value)]
        got = f", got {value}" if value else ""
        yield (f"{subject}: " if subject else "") + " or ".join(dict.fromkeys(messages)) + got


def _fault(fault: dict[str, Any], by_path: Mapping[str, Leaf]) -> _Fault:
    location = [str(part) for part in fault["loc"]]
    path = next((p for n in (2, 1) if (p := ".".join(location[:n])) in by_path), None)
    if fault["type"] == "extra_forbidden":
        key = ".".join(location)
        known = [*by_path, *(leaf.section for leaf in by_path.values())]
        return _Fault("", f"unknown key {key!r}{near(key, known)}")
    message = str(fault["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    message = _WORDS.get(fault["type"], message)
    if message.startswith("--") or (path is None and not location):
        return _Fault("", message)
    message = message[:1].lower() + message[1:]
    if path is None:
        return _Fault(".".join(location), message)
    leaf, value = by_path[path], fault["input"]
    example = None if leaf.default() in (None, (), "") else f"{leaf.flag} {_text(leaf.default())}"
    if fault["type"] == "value_error":  # the message names the value itself
        return _Fault(leaf.flag, message, example=example)
    close = near(value, map(str, leaf.choices)) if isinstance(value, str) else ""
    return _Fault(leaf.flag, message, f"{_text(value)}{close}", example)


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value)


def _split(value: Any) -> Any:
    """Return a comma-separated text as a list; commas inside brackets do not separate."""
    if not isinstance(value, str):
        return value
    parts, depth = [""], 0
    for character in value:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
