"""Commands without a recipe: written with their own options alone, given the shared ones."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Annotated, Any, TypeVar

import typer

from qr_cli.cli.lazy import SETTINGS, SPEECH, Command, LazyGroup, epilog
from qr_cli.cli.output import out

F = TypeVar("F", bound=Callable[..., None])
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]


def group(help: str) -> typer.Typer:
    """Return an app for verbs."""
    return typer.Typer(cls=LazyGroup, no_args_is_help=True, help=help, **SETTINGS)


def verb(
    app: typer.Typer, name: str, *, help: str | None = None, shown: Iterable[str]
) -> Callable[[F], F]:
    """Make a function a command that also takes the options of `SPEECH`.

    Args:
        app: what it is a command of.
        name: as the user types it.
        help: what it is for; default: the function's docstring.
        shown: commands at the end of its help.
    """

    def register(body: F) -> F:
        own = inspect.signature(body, eval_str=True)

        def command(**values: Any) -> None:
            out.configure(**{key: values.pop(key) for key in SPEECH})
            out.route_logs()
            body(**values)

        parameters = [*own.parameters.values(), *map(_switch, SPEECH)]
        command.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        command.__doc__ = body.__doc__
        app.command(name, cls=Command, help=help, epilog=epilog(shown))(command)
        return body

    return register


def _switch(name: str) -> inspect.Parameter:
    flag, help = SPEECH[name]
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[bool, typer.Option(flag, help=help)],
    )
