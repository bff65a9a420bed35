"""Fold attention, norms and branches away, and prove that nothing changed.

    import qr_cli as qr
    steps = qr.reparam.plan(model, example)
    result = qr.reparam.fold(model, example)
    check = qr.reparam.verify(model, result, example, full=True)
    qr.reparam.export(result.model, "onnx", path, example, against=model)

Importing the package imports no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qr_cli.reparam.exporting import export as export
    from qr_cli.reparam.folding import fold as fold
    from qr_cli.reparam.planning import plan as plan
    from qr_cli.reparam.verifying import verify as verify

_PUBLIC = {"plan": "planning", "fold": "folding", "verify": "verifying", "export": "exporting"}
__all__ = ["export", "fold", "plan", "verify"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
