"""Sub-commands that are imported when they are called, so that help costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup


class Stub(NamedTuple):
    """A command to be: ``module:object`` (a Typer app), its help line, its place in the help."""

    target: str
    help: str
    panel: str | None = None


class _PlainTypes:
    """Shows no types where they say nothing: of switches, and of arguments that have a name."""

    def get_params(self, ctx: Any) -> Any:
        found = super().get_params(ctx)  # type: ignore[misc]
        for param in found:
            if getattr(param, "is_flag", False):
                param.metavar = " "
            elif param.param_type_name == "argument":
                param.display_type_rich = lambda ctx: None
        return found


class Command(_PlainTypes, TyperCommand):
    """A command of this program."""


class LazyGroup(_PlainTypes, TyperGroup):
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


SPEECH = {  # how a command speaks: arguments of `Output.configure`, their flags and help
    "as_json": ("--json", "Print JSON lines, also on a terminal."),
    "quiet": ("--quiet", "Print only the one path or value."),
    "verbose": ("--verbose", "Say more: sources of values, saved files."),
    "no_color": ("--no-color", "Print without colour."),
}


def epilog(commands: Iterable[str]) -> str:
    """Return examples as they end a help page."""
    return "\n\n".join(["[bold]Examples[/bold]", *(f"  {command}" for command in commands)])


def _stand_in(target: str) -> Callable[[], None]:
    def stub() -> None: ...

    stub.target = target  # type: ignore[attr-defined]
    return stub


def _nothing() -> None: ...
