"""When should a human take over from a bot, why, and at what cost.

from qr_cli.handoff import load
session = load("embedded").session()
decision = session.add("customer", "My order is late again.")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qr_cli.handoff.load import load as load
    from qr_cli.handoff.stream import Session as Session

_PUBLIC = {"load": "qr_cli.handoff.load", "Session": "qr_cli.handoff.stream"}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)
