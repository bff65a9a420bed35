"""What each attention module is at a glance: parameters, start gate, where its defaults come from.

The start gate is why attention put into a trained network destroys it: a gate of 0.03 leaves 3 % of
every branch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qr_cli.attention.cost import start_gate
from qr_cli.attention.create import create_attention
from qr_cli.attention.names import MODULES

CHANNELS = 256
NEEDS_A_MODULE = {"share": "share(se)"}


def catalog(channels: int = CHANNELS) -> Iterator[dict[str, Any]]:
    """Yield name, parameters, start gate, summary and provenance of every module of the table."""
    for name, entry in MODULES.all().items():
        spec = NEEDS_A_MODULE.get(name, name)
        module = create_attention(spec, channels, seed=0)
        yield {
            "name": name,
            "channels": channels,
            "parameters": sum(p.numel() for p in module.parameters()),
            "start_gate": start_gate(spec, channels),
            "summary": entry.summary,
            "provenance": dict(getattr(module, "provenance", {})),
        }
