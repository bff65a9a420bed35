"""The network of any base behind the interface of `load.Runner`: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from qr_cli.engine.damage import damaged
from qr_cli.errors import WeightsError
from qr_cli.handoff.build import build
from qr_cli.handoff.fast import Step
from qr_cli.handoff.load import weights_file
from qr_cli.handoff.simulator import Pair

if TYPE_CHECKING:
    from qr_cli.handoff.load import Model

Array = np.ndarray


def network(model: Model) -> Any:
    """Return the torch network of a model, in evaluation mode.

    Raises:
        WeightsError: the weights do not fit model.json.
    """
    with damaged(model.folder, WeightsError, also=(SafetensorError,)):
        net = build(model.card)
        net.load_state_dict(load_file(weights_file(model.folder)))
    return net.eval()


class Network:
    """See the module. `model` is a loaded one, with weights on disk."""

    def __init__(self, model: Model) -> None:
        self.net = network(model)
        self.pair: Pair | None = None
        if weights := model.simulator():
            self.pair = Pair(len(weights["nets.0.embedding.weight"]))
            self.pair.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
            self.pair.eval()

    @torch.no_grad()
    def encode(self, sentences: Sequence[Any], roles: Sequence[int], extras: Any = None) -> Array:
        """Return utterance vectors (N, X), with what the simulator needs behind."""
        length = torch.tensor([len(s) for s in sentences])
        tokens = torch.zeros(len(sentences), int(length.max()), dtype=torch.long)
        for row, sentence in enumerate(sentences):
            tokens[row, : len(sentence)] = torch.tensor(sentence)
        more = _extra_tensors(extras, length, tokens.shape[1])
        parts = [self.net.base.encode(tokens, length, torch.tensor(list(roles)), more)]
        if self.pair is not None:
            parts += [net.encode(tokens, length) for net in self.pair.nets]  # type: ignore[operator]
        return torch.cat(parts, dim=1).numpy()

    def start(self, count: int) -> dict[str, Array]:
        """Return the state of conversations that have not begun."""
        state = {k: v.numpy().copy() for k, v in self.net.start(count).items()}
        for number in range(2 if self.pair else 0):
            state[f"net{number}"] = np.zeros((count, 64), np.float32)
        return state

    @torch.no_grad()
    def step(self, x: Array, role: Array, state: dict[str, Array]) -> tuple[Step, dict[str, Array]]:
        """Return the scores of one more turn of N sessions, and their new states."""
        vectors, who = torch.from_numpy(x), torch.from_numpy(np.asarray(role, dtype=np.int64))
        tensors = {k: torch.from_numpy(v) for k, v in state.items()}
        nets = list(self.pair.nets) if self.pair is not None else []
        own = x.shape[1] - 64 * len(nets)
        hidden = [tensors.pop(f"net{i}") for i in range(len(nets))]
        scores, new = self.net.step(vectors[:, :own], who, tensors)
        found = Step(
            base=scores.base.numpy(), odds=scores.odds.numpy(),
            local=None if scores.local is None else scores.local.numpy(),
            state=None if scores.state is None else scores.state.numpy(), needed=None,
        )  # fmt: skip
        kept = {k: v.numpy() for k, v in new.items()}
        if nets:
            total = 0.0
            for number, net in enumerate(nets):
                part = vectors[:, own + 64 * number : own + 64 * (number + 1)]
                score, last = net.step(part, who, hidden[number])  # type: ignore[operator]
                kept[f"net{number}"] = last.numpy()
                total = total + score.numpy() / 2
            found["needed"] = total
        return found, kept


def _extra_tensors(extras: Any, length: torch.Tensor, width: int) -> dict[str, torch.Tensor]:
    """Return part of speech, term frequency and sentiment score, where every utterance has them."""
    if not extras or any(e is None for e in extras):
        return {}
    found = {}
    for key, kind in (("pos", torch.long), ("tf", torch.float32)):
        if all(e[key] is not None for e in extras):
            found[key] = torch.zeros(len(extras), width, dtype=kind)
            for row, (extra, size) in enumerate(zip(extras, length.tolist(), strict=True)):
                values = extra[key][:size]
                found[key][row, : len(values)] = torch.tensor(values, dtype=kind)
    if all(e["score"] is not None for e in extras):
        found["score"] = torch.tensor([e["score"] for e in extras], dtype=torch.float32)
    return found
