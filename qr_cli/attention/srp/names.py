"""What a ``--srp`` string means: ``dbb``, ``mobileone(branches=2)`` (imports no torch)."""

from __future__ import annotations

from qr_cli.attention.grammar import Node, canonical, check_options, fault, parse_call
from qr_cli.attention.modules.forms import form
from qr_cli.attention.names import SRP
from qr_cli.errors import near


def check_srp(text: str) -> str:
    """Return the canonical text of a block, defaults dropped.

    Raises:
        UsageError: anything in it cannot be meant; a caret shows where.
    """
    return canonical(resolve_srp(text))


def resolve_srp(text: str) -> Node:
    """Return the checked term of a block."""
    node = parse_call(text)
    known = form(node.name, SRP)
    if known is not None:
        return check_options(text, node, known)
    if ":" in node.name or node.name in SRP:
        return node
    guess = near(node.name, SRP)
    fault(text, node.at, f"unknown {SRP.kind} {node.name!r}{guess}", hint=SRP.listing)
