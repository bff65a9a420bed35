"""What the published repositories train, to show what it does; not meant for use.

`--lookahead released` (rssn, dami): dialogues are padded to 50 (30) turns of 64 (50) tokens and
every slot is real to the network; attention masks rows, not columns, so scores see the future.
`--gate released` (rssn): class probabilities times the user state, not renormalised, 0 on agent
turns. `--cost-mode released`: a weight on the second utterance's probabilities. None can stream.

Derived from the published code of RSSN, CEM and DAMI (TensorFlow 1.14). With the released gate the
log-odds given here are log p~_1 - log p~_0, whose sign is the authors' argmax.

Shapes: B dialogues, T utterances, N sentences, P tokens, S token slots.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from qr_cli.errors import UsageError
from qr_cli.handoff.bases import Context, State
from qr_cli.handoff.bases.dami import DAMI
from qr_cli.handoff.bases.rssn import RSSN
from qr_cli.handoff.cem import CEM, Scores
from qr_cli.handoff.corpus import Batch
from qr_cli.handoff.load import LOOKAHEAD
from qr_cli.handoff.ragged import Ragged, run

FILL = float(-(2**32) + 1)
TINY, LN = 1e-9, 1e-8
SLOTS = {"rssn": (50, 64), "dami": (30, 50)}
INNER = 128  # of the released gate's input layer
COST = 0.01


class ReleasedRSSN(RSSN):
    """`RSSN` with the attention of the published code.

    Args:
        inputs: whether the released gate's layer stands before the views.
    """

    def __init__(self, vocabulary: int, *, inputs: bool = False, **settings: Any) -> None:
        super().__init__(vocabulary, **settings)
        self.inputs: nn.Linear | None = None
        for part in self.modules():
            if isinstance(part, nn.LayerNorm):
                part.eps = LN
        for weight in (*self.weight.inner.parameters(), *self.weight.outer.parameters()):
            nn.init.normal_(weight)
        if inputs:
            self.inputs = nn.Linear(512, INNER)
            self.build_views(512 + INNER)
            for layer in (self.inputs, self.to_m, self.to_s):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def start(self, batch: int) -> State:
        """Refuse: a score depends on the whole dialogue."""
        raise UsageError(LOOKAHEAD)

    def encode(self, tokens: Tensor, length: Tensor, role: Tensor, extra: State) -> Tensor:
        """(N, S), (N), (N) -> (N, 512 or 640): padded token slots share the attention."""
        ragged = Ragged(length, tokens.shape[1])
        outputs, final = run(
            self.words, self.dropout(self.embedding(ragged.gather(tokens))), ragged
        )
        score = self.attention(outputs)
        empty = self.attention(outputs.new_zeros(1, outputs.shape[1]))
        share = _with_padding(ragged, score, empty, length, SLOTS["rssn"][1])
        c = self.dropout(torch.cat([ragged.total(share[:, None] * outputs), final], dim=-1))
        return c if self.inputs is None else torch.cat([torch.tanh(self.inputs(c)), c], dim=-1)

    def context(self, x: Tensor, role: Tensor, mask: Tensor) -> Context:
        """(B, T, X), (B, T), (B, T) -> contexts that see the future."""
        turns, slots = x.shape[1], SLOTS["rssn"][0]
        x, role, mask = (_slots(v, slots) for v in (x, role, mask))
        if self.inputs is not None:  # an empty slot holds the layer's answer to zeros
            empty = torch.cat([torch.tanh(self.inputs.bias), x.new_zeros(512)])
            x = torch.where(mask[..., None], x, empty)
        m, s = self.views(x, torch.tril(x @ x.transpose(1, 2), -1))
        customer = ((role == 1) & mask)[..., None]
        shared = torch.softmax((m @ s.transpose(1, 2)).masked_fill(~customer, FILL), -1) @ s
        z, _ = self.turns(self.merge(shared, m))
        place = torch.softmax(torch.arange(slots, dtype=x.dtype, device=x.device), 0)
        other = (s @ m.transpose(1, 2)) * place[:, None]
        other = torch.softmax(other.masked_fill(~mask[..., None], FILL), -1) @ m
        everything = mask.new_ones(len(x), slots, slots)
        f = self.block(self.norm(s + other), everything)
        both = self.head(self.dropout(z))[:, :turns]
        local = torch.softmax(self.local(f), -1)[:, :turns]
        weight = self.weight(f)[:, :turns]  # not clamped
        return Context(both, both[..., 1] - both[..., 0], (local, weight))


class ReleasedDAMI(DAMI):
    """`DAMI` with the attention of the published code."""

    def __init__(self, vocabulary: int, **settings: Any) -> None:
        super().__init__(vocabulary, **settings)
        nn.init.normal_(self.relate)

    def start(self, batch: int) -> State:
        """Refuse: a score depends on the whole dialogue."""
        raise UsageError(LOOKAHEAD)

    def encode(self, tokens: Tensor, length: Tensor, role: Tensor, extra: State) -> Tensor:
        """(N, S), (N), (N) -> (N, 513): both roles' attentions are added."""
        ragged, slots = Ragged(length, tokens.shape[1]), SLOTS["dami"][1]
        x, tf = self.inputs(tokens, ragged, extra)
        outputs, final = run(self.words, x, ragged)
        own = role[ragged.sentence] == 1
        customer, agent = self.customer(x, tf), torch.relu(self.agent(x, tf))
        score = torch.where(own, customer, agent)
        blank = x.new_zeros(1, x.shape[1])
        empty = self.customer(blank, blank[:, 0]), torch.relu(self.agent(blank, blank[:, 0]))
        pad = torch.where(role == 1, empty[0], empty[1])
        share = _with_padding(ragged, score, pad, length, slots) + 1 / slots
        sentence = ragged.total(share[:, None] * outputs)
        return self.dropout(torch.cat([sentence, final, self.sentiment(length, extra)], dim=-1))

    def context(self, x: Tensor, role: Tensor, mask: Tensor) -> Context:
        """(B, T, 513) -> contexts: the future keeps the weight of a product of 0."""
        turns, slots = x.shape[1], SLOTS["dami"][0]
        x, mask = _slots(x, slots), _slots(mask, slots)
        v, _ = self.turns(self.matched(x, torch.tril(x @ x.transpose(1, 2), -1)))
        v = self.dropout(v)
        scores = (v @ self.relate @ v.transpose(1, 2)).masked_fill(~mask[..., None], FILL)
        found = self.close(torch.softmax(torch.tril(scores), -1) @ v, v)
        return Context(found.h[:, :turns], found.d[:, :turns])


class ReleasedGate(CEM):
    """Class probabilities times the user state, as published."""

    def score(self, context: Context, role: Tensor, mask: Tensor) -> Scores:
        """Return the scores of contexts; `gated` holds (p~_0, p~_1)."""
        assert context.state is not None
        local, weight = context.state
        customer = (role == 1) & mask
        share = torch.softmax(weight.masked_fill(~customer, FILL), dim=1) * customer
        state = share[..., None] * local[..., [0, 2]]
        gated = torch.softmax(context.h, dim=-1) * state
        odds = (gated[..., 1] + TINY).log() - (gated[..., 0] + TINY).log()
        odds = odds.masked_fill(gated.sum(-1) == 0, -30.0)
        overall = (share[..., None] * local).sum(1)
        return Scores(context.d, odds, local, None, overall, gated)


def gated_loss(scores: Scores, batch: Batch) -> Tensor:
    """Return the published loss: cross-entropy of p~, each class weighted by the other's chance."""
    assert scores.gated is not None
    normal, transfer = scores.gated[..., 0], scores.gated[..., 1]
    label = batch["handoff"]
    known = ~label.isnan()
    y = torch.where(known, label, 0.0)
    first = (1 - transfer).clamp(min=0).sqrt() * (1 - y) * (normal + TINY).log()
    second = (normal + TINY).sqrt() * y * (transfer + TINY).log()
    return -((first + second) * known).sum() / known.sum().clamp(min=1)


def released_cost(scores: Scores) -> Tensor:
    """Return the mean over dialogues and both classes of the second utterance's probabilities."""
    if scores.gated is not None:
        return scores.gated[:, 1:2].mean() if scores.gated.shape[1] > 1 else scores.odds.sum() * 0
    if scores.odds.shape[1] < 2:
        return scores.odds.sum() * 0
    p = torch.sigmoid(scores.odds[:, 1])
    return torch.stack([1 - p, p]).mean()


def build_released(card: Mapping[str, Any]) -> nn.Module:
    """Return the network of a model.json with lookahead."""
    gate = card.get("gate")
    if card["base"] == "dami":
        return CEM(ReleasedDAMI(**card["arguments"]), **card["cem"])
    base = ReleasedRSSN(**card["arguments"], inputs=gate == "released")
    if gate == "released":
        return ReleasedGate(base, **{**card["cem"], "gate": "off"})
    return CEM(base, **card["cem"])


def _with_padding(
    ragged: Ragged, score: Tensor, empty: Tensor, length: Tensor, slots: int
) -> Tensor:
    """Return softmax weights of real tokens where all slots up to `slots` take part."""
    table = empty.expand(len(length))[:, None].repeat(1, ragged.shape[1]).reshape(-1)
    table = table.index_put((ragged.index,), score).view(ragged.shape)
    more = empty.expand(len(length))[:, None].repeat(1, max(0, slots - ragged.shape[1]))
    weight = torch.softmax(torch.cat([table, more], dim=1), dim=1)[:, : ragged.shape[1]]
    return weight.reshape(-1)[ragged.index]


def _slots(values: Tensor, slots: int) -> Tensor:
    """Return values padded with zeros to a number of turns.

    Raises:
        UsageError: the dialogue has more.
    """
    if values.shape[1] > slots:
        raise UsageError(
            f"a dialogue has {values.shape[1]} turns; with --lookahead released {slots} are read",
            hint=f"--max-turns {slots}",
        )
    more = values.new_zeros(len(values), slots - values.shape[1], *values.shape[2:])
    return torch.cat([values, more], dim=1)
