"""Commands whose engine is still to come: they say so and exit 5."""

from __future__ import annotations

import typer

from qr_cli.cli.lazy import SETTINGS, Command
from qr_cli.errors import EnvironmentFault


def _planned(name: str) -> typer.Typer:
    app = typer.Typer(**SETTINGS)

    @app.command(
        cls=Command,
        help=f"qr {name} is not part of this version yet.",
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )
    def command(ctx: typer.Context) -> None:
        raise EnvironmentFault(
            f"qr {name} is not part of this version yet", hint="qr train attention --help"
        )

    return app


generate = _planned("generate")
