"""Which operators SEM switches on, block by block: the omegas of trained gates [ours].

    gate = prod_j sigmoid(omega_j o_j(u)),   omega = sigmoid(D u + d), one per image and operator

An operator with omega near 0 contributes the constant 0.5 whatever the image shows.
Shapes: B batch, C channels, H height, W width, N images, k operators.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from qr_cli.attention.modules.chain import Chain
from qr_cli.attention.modules.contract import Ctx, linear, precise
from qr_cli.attention.modules.identity import IdentityStart
from qr_cli.attention.modules.sem import SEM
from qr_cli.attention.modules.share import Share
from qr_cli.attention.trace import Batch, Gate, Seat, batched, run, watch
from qr_cli.errors import UsageError

Record = dict[str, Any]
_NAMES = {"se": "fc"}  # inside sem the operator of se is called fc


def sem_switches(net: nn.Module, batches: Tensor | Iterable[Batch]) -> Iterator[Record]:
    """Yield a "switch" record per block and operator: mean and deviation of omega over images.

    Args:
        net: a network with ``sem`` in its blocks; looked at in evaluation mode.
        batches: images (N, 3, H, W), normalised as the network expects, or batches.

    Raises:
        UsageError: no block has ``sem``.
    """
    seen: dict[str, tuple[Seat, list[str], list[Tensor]]] = {}

    def on_gate(gate: Gate) -> None:
        found = _switch(gate.seat.module, gate.f, gate.ctx)
        if found is not None:
            sem, omega = found
            entry = seen.setdefault(gate.seat.name, (gate.seat, _operators(sem), []))
            entry[2].append(omega.double().cpu())

    with watch(net, gate=on_gate):
        run(net, batched(batches))
    if not seen:
        raise UsageError(
            "no block has sem: there is no switch to read", hint='--module "sem(fc,eca,ie)"'
        )
    for seat, operators, parts in seen.values():
        omega = torch.cat(parts)  # (N, k)
        for number, operator in enumerate(operators):
            yield {
                "event": "switch",
                "block": seat.block,
                "stage": seat.stage,
                "index": seat.index,
                "operator": operator,
                "omega_mean": float(omega[:, number].mean()),
                "omega_std": float(omega[:, number].std(correction=0)),
                "images": len(omega),
            }


def _switch(module: nn.Module, f: Tensor, ctx: Ctx | None) -> tuple[SEM, Tensor] | None:
    """Return the first SEM that acts on f, or behind other terms, and its omega, (B, k)."""
    if isinstance(module, SEM):
        with precise(f):
            return module, torch.sigmoid(linear(module.decision, module.squeeze(f)))
    if isinstance(module, IdentityStart | Share):
        return _switch(module.inner, f, ctx)
    if isinstance(module, Chain):
        own = None if ctx is None else replace(ctx, state=dict(ctx.state or {}))
        for term in module.terms():
            found = _switch(term, f, own)
            if found is not None:
                return found
            f = term(f, own)
    return None


def _operators(sem: SEM) -> list[str]:
    """Return the names of its operators; a second one of a kind is ``eca 2``."""
    names: list[str] = []
    for op in sem.ops:
        name = str(getattr(op, "name", "operator"))
        name = _NAMES.get(name, name)
        count = sum(known.partition(" ")[0] == name for known in names)
        names.append(f"{name} {count + 1}" if count else name)
    return names
