"""Plane geometry: programs that answer, proofs that are checked (UniGeo, Chen et al. 2022).

    from qr_cli import geo
    geo.solve("In triangle ABC, AB = AC, angle A = 50°. Find angle B.", ["50°", "65°"]).value

This is the symbolic half: executor, proof checker, proof search, rules for text. Nothing here
imports torch; a name below is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qr_cli.geo.checker import check as check
    from qr_cli.geo.givens import read_problem as read_problem
    from qr_cli.geo.program import choose as choose
    from qr_cli.geo.program import execute as execute
    from qr_cli.geo.proof import canonical as canonical
    from qr_cli.geo.proof import parse_proof as parse_proof
    from qr_cli.geo.prover import prove as prove
    from qr_cli.geo.records import read as read
    from qr_cli.geo.slotting import slots as slots
    from qr_cli.geo.solver import solve as solve
    from qr_cli.geo.synth import make as make

_PUBLIC = {
    "check": "qr_cli.geo.checker", "read_problem": "qr_cli.geo.givens",
    "choose": "qr_cli.geo.program", "execute": "qr_cli.geo.program",
    "canonical": "qr_cli.geo.proof", "parse_proof": "qr_cli.geo.proof",
    "prove": "qr_cli.geo.prover", "read": "qr_cli.geo.records",
    "slots": "qr_cli.geo.slotting", "solve": "qr_cli.geo.solver",
    "make": "qr_cli.geo.synth",
}  # fmt: skip
__all__ = [*_PUBLIC]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)
