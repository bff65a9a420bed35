"""The network of model.json, and what it says of dialogues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from qr_cli.handoff.bases import HANDOFF_BASES
from qr_cli.handoff.cem import CEM, Scores
from qr_cli.handoff.corpus import Corpus
from qr_cli.handoff.recipe import Handoff

LONG = 400  # turns above which a dialogue is scored step by step, in flat memory


def build(card: Mapping[str, Any]) -> nn.Module:
    """Return the network that model.json describes, with fresh weights."""
    if card.get("lookahead") == "released":
        from qr_cli.handoff.released import build_released

        return build_released(card)
    base = HANDOFF_BASES.load(card["base"])(**card["arguments"])
    return CEM(base, **card["cem"])


def base_arguments(recipe: Handoff, size: int) -> dict[str, Any]:
    """Return the arguments of a recipe's base, for a vocabulary of this size."""
    model = recipe.model
    if model.base == "lr":
        return {"vocabulary": size, "states": recipe.causal.cem}
    if model.base == "bert":
        return {
            "encoder": model.encoder,
            "hidden": model.hidden,
            "dropout": model.dropout,
            "freeze": model.freeze,
        }
    shared = {"vocabulary": size, "embed_dim": model.embed_dim, "dropout": model.dropout}
    return shared | ({} if model.base in ("rssn", "dami") else {"hidden": model.hidden})


@torch.no_grad()
def predict(model: Any, corpus: Corpus, *, batch_size: int = 32) -> list[Scores]:
    """Return the scores of each dialogue as arrays (T, ..), whatever batch they were in.

    Dialogues of like length are scored together; very long ones step by step.
    """
    model.eval()
    device = next(iter(model.state_dict().values())).device
    turns = corpus.length(range(len(corpus)))
    order = np.argsort(turns, kind="stable")
    found: list[Any] = [None] * len(corpus)
    short = [int(i) for i in order if turns[i] <= LONG or _looks_ahead(model)]
    for first in range(0, len(short), batch_size):
        chosen = short[first : first + batch_size]
        batch = {k: v.to(device) for k, v in corpus.batch(chosen).items()}
        scores = model(batch)[:4]  # those of turns
        for row, index in enumerate(chosen):
            found[index] = _arrays([None if s is None else s[row, : turns[index]] for s in scores])
    for index in (int(i) for i in order if found[i] is None):
        found[index] = scan(model, corpus, index)
    return found


@torch.no_grad()
def scan(model: Any, corpus: Corpus, index: int) -> Scores:
    """Return the scores of one dialogue, turn by turn through `step`."""
    device = next(iter(model.state_dict().values())).device
    batch = {k: v.to(device) for k, v in corpus.batch([index]).items()}
    x = model.encode(batch)[0]
    state, steps = model.start(1), []
    for turn, role in enumerate(batch["role"]):
        scores, state = model.step(x[turn][None], role[None], state)
        steps.append(scores)
    parts = zip(*(s[:4] for s in steps), strict=True)
    return _arrays([None if part[0] is None else torch.cat(list(part)) for part in parts])


def odds_of(scores: Sequence[Scores]) -> list[np.ndarray]:
    """Return the log-odds d~ of each dialogue."""
    return [np.asarray(s.odds) for s in scores]


def _looks_ahead(model: Any) -> bool:
    from qr_cli.handoff.released import ReleasedDAMI, ReleasedRSSN

    return isinstance(model.base, ReleasedDAMI | ReleasedRSSN)


def _arrays(parts: Sequence[Any]) -> Scores:
    """Return scores as arrays."""
    arrays: list[Any] = [None if p is None else p.float().cpu().numpy() for p in parts]
    return Scores(*arrays)
