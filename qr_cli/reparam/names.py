"""Which networks `--arch` of `qr reparam` names besides those of attention (imports no torch)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qr_cli.attention.backbones.names import check_arch as check_backbone
from qr_cli.attention.grammar import Node, canonical, parse_call
from qr_cli.attention.names import BACKBONES
from qr_cli.errors import UsageError, near

KEYS = "keys"
# name -> blocks per stage, width multipliers, groups of blocks 2, 4, .., 26, whether SE stays
REPVGG: dict[str, tuple[tuple[int, ...], tuple[float, ...], int, bool]] = {
    f"repvgg-{name}": (blocks, widths, groups, name == "d2se")
    for names, blocks, widths in (
        (("a0",), (2, 4, 14, 1), (0.75, 0.75, 0.75, 2.5)),
        (("a1",), (2, 4, 14, 1), (1.0, 1.0, 1.0, 2.5)),
        (("a2",), (2, 4, 14, 1), (1.5, 1.5, 1.5, 2.75)),
        (("b0",), (4, 6, 16, 1), (1.0, 1.0, 1.0, 2.5)),
        (("b1", "b1g2", "b1g4"), (4, 6, 16, 1), (2.0, 2.0, 2.0, 4.0)),
        (("b2", "b2g2", "b2g4"), (4, 6, 16, 1), (2.5, 2.5, 2.5, 5.0)),
        (("b3", "b3g2", "b3g4"), (4, 6, 16, 1), (3.0, 3.0, 3.0, 5.0)),
        (("d2se",), (8, 14, 24, 1), (2.5, 2.5, 2.5, 5.0)),
    )
    for name in names
    for groups in (int(name[-1]) if "g" in name else 1,)
}
# name -> width multipliers, branches, whether SE stays
MOBILEONE: dict[str, tuple[tuple[float, ...], int, bool]] = {
    "mobileone-s0": ((0.75, 1.0, 1.0, 2.0), 4, False),
    "mobileone-s1": ((1.5, 1.5, 2.0, 2.5), 1, False),
    "mobileone-s2": ((1.5, 2.0, 2.5, 4.0), 1, False),
    "mobileone-s3": ((2.0, 2.5, 3.0, 4.0), 1, False),
    "mobileone-s4": ((3.0, 3.5, 3.5, 4.0), 1, True),
}
ASR_RESNET = "asr-resnet"
OFFICIAL = (*REPVGG, *MOBILEONE, ASR_RESNET)
_OPTIONS: Mapping[str, Mapping[str, type]] = {
    ASR_RESNET: {"depth": int, "classes": int, "module": str, "both": bool},
    **dict.fromkeys((*REPVGG, *MOBILEONE), {"classes": int, "deploy": bool}),
    KEYS: {},
}


def check_arch(text: str) -> str:
    """Return the canonical text of an ``--arch`` of `qr reparam`.

    Raises:
        UsageError: the name or an option is unknown.
    """
    return canonical(parse_arch(text))


def parse_arch(text: str) -> Node:
    """Take an ``--arch`` apart; raises UsageError as `check_arch` does."""
    node = parse_call(text)
    family, colon, _ = node.name.partition(":")
    if colon and "." in family and family not in BACKBONES:
        return node  # package.module:Class
    known = _OPTIONS.get(node.name)
    if known is None:
        if not colon and not node.name.startswith("resnet"):
            guess = near(node.name, OFFICIAL)
            if guess:
                raise UsageError(f"--arch: unknown network {node.name!r}{guess}", hint=_LISTED)
        return parse_call(check_backbone(text))
    for key, value in node.options:
        if type(value) is not known.get(key):
            raise UsageError(
                f"--arch: {node.name} has no option {key}={value!r}",
                hint=f"options: {', '.join(known) or 'none'}",
            )
    if node.name == ASR_RESNET and node.option("module", "senet") != "senet":
        raise UsageError(
            f"--arch: {ASR_RESNET} is read with module=senet, got {node.option('module')!r}",
            hint=f"--arch '{ASR_RESNET}(depth=164,classes=100)'",
        )
    return node


def options(text: str) -> dict[str, Any]:
    """Return the options in the brackets of an ``--arch``."""
    return dict(parse_arch(text).options)


_LISTED = f"official networks: {', '.join(OFFICIAL)}"
