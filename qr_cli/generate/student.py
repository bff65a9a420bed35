"""What is trained: an adapter, the projection of the teacher's vectors, and fixed statistics.

One module, so that data-parallel training sees one. Statistics are taken over the training rows and
saved with it.
Shapes: B sequences, T tokens, d width of the text encoder, m width of the teacher.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from qr_cli.generate.adapter import SURAdapter

_SEED = 7919  # between the draws of the adapter and of the projection


class Answer(NamedTuple):
    """What a student makes of a batch: (B, T, d), and (B, d) where there is a teacher."""

    out: Tensor
    t: Tensor
    z: Tensor
    projected: Tensor | None


class Student(nn.Module):
    """See the module.

    Args:
        config: arguments of the adapter.
        seed: of its start; the same for every teacher.
        mu: (T, d), mean keyword embedding.
        var: scalar, its mean squared deviation.
        vectors: (N, m), the teacher's vectors of the training rows, for their scale; None without.
        learned: whether the projection is trained; the released one is not.
        standardized: whether vectors are centred and scaled first; the released ones are not.
    """

    mu: Tensor
    var: Tensor
    vector_mean: Tensor
    vector_scale: Tensor

    def __init__(
        self,
        config: dict[str, Any],
        *,
        seed: int,
        mu: Tensor,
        var: Tensor,
        vectors: Tensor | None = None,
        learned: bool = True,
        standardized: bool = True,
    ) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.adapter = SURAdapter(**config)
            torch.manual_seed(seed + _SEED)
            self.projection: nn.Linear | None = None
            if vectors is not None:
                self.projection = nn.Linear(vectors.shape[1], self.adapter.config.hidden_size)
                self.projection.requires_grad_(learned)
        self.register_buffer("mu", mu)
        self.register_buffer("var", var)
        if vectors is not None:
            mean = vectors.mean(0) if standardized else torch.zeros(vectors.shape[1])
            scale = (vectors - mean).std() if standardized else torch.ones(())
            self.register_buffer("vector_mean", mean)
            self.register_buffer("vector_scale", scale)

    def forward(self, x: Tensor, vectors: Tensor | None = None) -> Answer:
        """Adapt embeddings and project the teacher's vectors."""
        out, t, z = self.adapter(x)
        if self.projection is None or vectors is None:
            return Answer(out, t, z, None)
        return Answer(out, t, z, self.projection((vectors - self.vector_mean) / self.vector_scale))

    def training_state(self) -> dict[str, Tensor]:
        """Return all that is not the adapter, for its folder."""
        return {k: v for k, v in self.state_dict().items() if not k.startswith("adapter.")}
