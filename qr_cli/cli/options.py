"""Commands made from recipes: every leaf of a recipe class is an option of the command.

Typer reads two attributes of a callback, ``__signature__`` and ``__annotations__``; both are made
from the recipe's leaves. Every option is text for Typer: parsing, bounds and choices are pydantic's
alone, so that all faults of a call are told at once and in the same words as those of a file.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, TypeVar

import typer

from qr_cli.cli.complete import completion, starting
from qr_cli.cli.lazy import SETTINGS, SPEECH, Command, epilog
from qr_cli.cli.output import out
from qr_cli.engine.recipe import Recipe
from qr_cli.engine.resolve import Leaf, leaves, origins, read_recipe, resolve, shipped

R = TypeVar("R", bound=Recipe)


@dataclass(frozen=True)
class Call(Generic[R]):
    """One call of a command.

    Attributes:
        recipe: the validated recipe.
        origins: dotted path to "recipe" or "flag", for values that are no defaults.
        resume: go on with an earlier run.
        overwrite: replace an earlier run.
        dry_run: show what would be done.
    """

    recipe: R
    origins: dict[str, str] = field(default_factory=dict)
    resume: bool = False
    overwrite: bool = False
    dry_run: bool = False


def recipe_app(
    recipe: type[R],
    body: Callable[[Call[R]], None],
    *,
    task: str,
    command: str,
    help: str,
    examples: Iterable[str],
    writes_runs: bool = True,
) -> typer.Typer:
    """Return an app with one command whose options are the leaves of `recipe`.

    Args:
        recipe: the recipe class.
        body: what the command does.
        task: the folder of shipped recipes.
        command: as the user types it, for hints.
        help: what the command is for.
        examples: commands shown at the end of its help.
        writes_runs: whether it has --resume, --overwrite and --dry-run.
    """
    settings = leaves(recipe)

    def callback(**values: Any) -> None:
        out.configure(**{key: bool(values.pop(key)) for key in SPEECH})
        out.route_logs()
        source = values.pop("recipe")
        call = {key: bool(values.pop(key)) for key in _RUNS_ONLY if key in values}
        given = {
            leaf.path: value for leaf in settings if (value := _value(leaf, values)) is not None
        }
        file = read_recipe(task, source) if source else None
        resolved = resolve(recipe, file=file, given=given, command=command)
        body(Call(resolved, origins=origins(file, given), **call))

    parameters = [p for leaf in settings for p in _parameters(leaf)]
    names = {"recipe": lambda incomplete: starting(incomplete, shipped(task))}
    parameters += [
        _switch(*row, complete=names.get(row[0]))
        for row in _SWITCHES
        if writes_runs or row[0] not in _RUNS_ONLY
    ]
    callback.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    callback.__annotations__ = {p.name: p.annotation for p in parameters}
    app = typer.Typer(**SETTINGS)
    app.command(cls=Command, help=help, epilog=epilog(examples))(callback)
    return app


_CALL = "This call"
_SIGN = {True: "", False: "__no"}
_RUNS_ONLY = ("resume", "overwrite", "dry_run")
_SWITCHES: tuple[tuple[str, str, type, str], ...] = (
    ("recipe", "--recipe", str, "Start from a recipe file, run folder or name."),
    ("dry_run", "--dry-run", bool, "Show what would be done; write nothing."),
    ("resume", "--resume", bool, "Go on with the run of this name."),
    ("overwrite", "--overwrite", bool, "Replace the run of this name."),
    *((key, flag, bool, help) for key, (flag, help) in SPEECH.items()),
)


def _parameters(leaf: Leaf) -> Iterator[inspect.Parameter]:
    """Yield the parameters of a leaf: one, or the two directions of a switch.

    Only the direction that changes the default is shown; the other one undoes a recipe file.
    """
    help = f"{leaf.field.description or ''}{_choices(leaf)}{_default(leaf)}"
    panel: dict[str, Any] = {"rich_help_panel": leaf.title, "show_default": False}
    if "argument" in leaf.extra:
        name = str(leaf.extra["argument"])
        info: Any = typer.Argument(metavar=name, help=help, show_default=False)
        yield _keyword(_dest(leaf), list[str] | None, info)
    elif leaf.kind is bool:
        for value, flag in ((True, leaf.flag), (False, leaf.flag.replace("--", "--no-", 1))):
            hidden = leaf.default() is value
            text = f"Do not {help[:1].lower()}{help[1:]}" if not value else help
            info = typer.Option(flag, help=text, hidden=hidden, **panel)
            yield _keyword(_dest(leaf) + _SIGN[value], bool | None, info)
    else:
        info = typer.Option(
            leaf.flag, help=help, metavar=_metavar(leaf), autocompletion=completion(leaf), **panel
        )
        yield _keyword(_dest(leaf), list[str] | None if leaf.is_list else str | None, info)


def _value(leaf: Leaf, values: dict[str, Any]) -> Any:
    """Return what was given for a leaf, or None."""
    if leaf.kind is bool:
        on, off = (values[_dest(leaf) + _SIGN[value]] for value in (True, False))
        return True if on else False if off else None
    value = values[_dest(leaf)] or None
    if isinstance(value, list) and "argument" not in leaf.extra:
        return ",".join(value)  # "--seeds 0 --seeds 1" is "--seeds 0,1"
    return value


def _keyword(name: str, annotation: Any, info: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[annotation, info],
    )


def _switch(
    name: str, flag: str, kind: type, help: str, *, complete: Callable[[str], list[str]] | None
) -> inspect.Parameter:
    info = typer.Option(
        flag,
        help=help,
        rich_help_panel=_CALL,
        show_default=False,
        metavar="NAME" if kind is str else None,
        autocompletion=complete,
    )
    return _keyword(name, kind | None, info)


def _dest(leaf: Leaf) -> str:
    return leaf.path.replace(".", "__")


def _default(leaf: Leaf) -> str:
    """Return the default as the help shows it."""
    default = leaf.default()
    if default in (None, "", ()) or isinstance(default, bool):
        return ""
    if isinstance(default, tuple):
        return f" \\[{','.join(map(str, default))}]"
    return f" \\[{default}]"


def _choices(leaf: Leaf) -> str:
    return f" {'|'.join(map(str, leaf.choices))}." if leaf.choices else ""


def _metavar(leaf: Leaf) -> str:
    if leaf.is_list:
        return "A,B"
    return {int: "N", float: "X"}.get(leaf.kind, "TEXT" if not leaf.choices else "NAME")


def typed() -> list[str]:
    """Return the arguments of this process, to start it again."""
    return sys.argv[1:]
