"""Sub-commands that are imported when they are called, so that help costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup


class Stub(NamedTuple):
    """A command to be: ``module:object`` (a Typer app), its help line, its place in the help."""

    target: str
    help: str
    panel: str | None = None


class _PlainHelp:
    """Shows ``--help`` without a type, as all switches."""

    def get_help_option(self, ctx: Any) -> Any:
        option = super().get_help_option(ctx)  # type: ignore[misc]
        option.metavar = " "
        return option


class Command(_PlainHelp, TyperCommand):
    """A command of this program."""


class LazyGroup(_PlainHelp, TyperGroup):
    """A group whose stubs are exchanged for the real command when one is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Resolve a name as Typer does, then import what the stub stands for."""
        name, command, rest = super().resolve_command(ctx, args)
        target = getattr(getattr(command, "callback", None), "target", None)
        if target is not None:
            module, _, attribute = target.partition(":")
            command = typer.main.get_command(getattr(import_module(module), attribute))
            command.name = name
        return name, command, rest


def lazy_app(stubs: Mapping[str, Stub], **settings: Any) -> typer.Typer:
    """Return an app of stubs; `settings` go to Typer."""
    app = typer.Typer(cls=LazyGroup, no_args_is_help=True, **(SETTINGS | settings))
    app.callback()(_nothing)
    for name, stub in stubs.items():
        app.command(name, help=stub.help, rich_help_panel=stub.panel)(_stand_in(stub.target))
    return app


SETTINGS: dict[str, Any] = {
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": "rich",
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


def _stand_in(target: str) -> Callable[[], None]:
    def stub() -> None: ...

    stub.target = target  # type: ignore[attr-defined]
    return stub


def _nothing() -> None: ...
