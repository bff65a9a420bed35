"""Where a block stands in its network, and the call of its attention module with that knowledge.

The blocks of one stage share one dict, the state in which a module hands values on (``dia``). It is
emptied before the stage's first block with attention and again after its last, so that nothing of
one forward pass outlives it and a network can be copied at any time.
Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from qr_cli.attention.modules.contract import Ctx


@dataclass(slots=True)
class Site:
    """A block's place.

    Args:
        stage: number of the stage, from 1.
        index: number of the block in its stage, from 0.
        depth: blocks in the stage.
        opens: whether it is the stage's first block with attention.
        closes: whether it is the stage's last block with attention.
        state: the dict shared by the blocks of the stage.
    """

    stage: int
    index: int
    depth: int
    opens: bool = True
    closes: bool = True
    state: dict[Any, Any] = field(default_factory=dict)


def attend(block: Any, x: Tensor, shortcut: Tensor, f: Tensor) -> Tensor:
    """Apply the block's `attn`, if it has one, to its branch.

    Args:
        block: a module with `attn` (module or None) and `site`.
        x: the block's input.
        shortcut: h(x), (B, C, H, W).
        f: the branch before the addition, (B, C, H, W).
    """
    if block.attn is None:
        return f
    site: Site = block.site
    if site.opens and site.state:
        site.state.clear()
    scaled: Tensor = block.attn(f, Ctx(x, shortcut, site.stage, site.index, site.depth, site.state))
    if site.closes and site.state:
        site.state.clear()
    return scaled


class OneOfStage(nn.Module):
    """A block's hold on the module its stage shares; the module is registered elsewhere.

    The tuple keeps the module out of this block's parameters and keys, and deepcopy follows it.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.held = (module,)

    def forward(self, f: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Apply the shared module, (B, C, H, W) -> (B, C, H, W)."""
        out: Tensor = self.held[0](f, ctx)
        return out
