"""Base `lr` (ours): logistic regression on n-grams, the honest bar for every network.

Features of utterance j, with scikit-learn's TF-IDF (sublinear tf, smooth idf, L2 norm, min_df 2):
A, the 1- and 2-grams of the utterance; A again on customer turns; 0.7 times the 1-grams of
utterance j-1; 0.5 times those of j-2; and seven dense ones: [customer], [agent], min(j, 20)/20,
log(1 + tokens)/4, the largest Jaccard overlap of the token set with the last 8 utterances, the same
with those of the same role among them, [the previous utterance has the same role].

`lr_fit.py` fits it with scikit-learn; here is the inference, a look-up of n-grams. As everything is
linear, an utterance alone gives its part of the log-odds and of the next two.

Row 0 of the coefficients is the handoff, rows 1..3 the three user states if there are any.
Shapes: N sentences, S tokens, B dialogues, T utterances, K rows.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from qr_cli.handoff.bases import Context, State
from qr_cli.handoff.tokens import UNKNOWN

BACK = 8  # utterances whose token sets are kept
SET = 64  # distinct tokens of a set
PREVIOUS = (0.7, 0.5)
DENSE = 7
Grams = dict[tuple[int, ...], int]


class LR(nn.Module):
    """See the module.

    Args:
        vocabulary: number of token ids.
        states: whether it gives user states.
        grams: 1- and 2-grams that are features.
        single: 1-grams that are features of earlier utterances.
    """

    window = None
    has_state = False
    hidden = 1
    grams: Tensor
    grams_idf: Tensor
    single: Tensor
    single_idf: Tensor
    own: Tensor
    customer: Tensor
    previous: Tensor
    dense: Tensor
    bias: Tensor
    scale: Tensor
    shift: Tensor

    def __init__(
        self, vocabulary: int, *, states: bool = False, grams: int = 0, single: int = 0
    ) -> None:
        super().__init__()
        rows = 4 if states else 1
        self.has_state = states
        self.register_buffer("grams", torch.zeros(grams, 2, dtype=torch.long))  # 0: a 1-gram
        self.register_buffer("grams_idf", torch.zeros(grams))
        self.register_buffer("single", torch.zeros(single, dtype=torch.long))
        self.register_buffer("single_idf", torch.zeros(single))
        self.register_buffer("own", torch.zeros(rows, grams))
        self.register_buffer("customer", torch.zeros(rows, grams))
        self.register_buffer("previous", torch.zeros(2, rows, single))
        self.register_buffer("dense", torch.zeros(rows, DENSE))
        self.register_buffer("bias", torch.zeros(rows))
        self.register_buffer("scale", torch.ones(rows))  # of stage 3; d = scale * odds + shift
        self.register_buffer("shift", torch.zeros(rows))
        self._tables: tuple[Grams, Grams] | None = None

    def _load_from_state_dict(self, state: State, prefix: str, *rest: object) -> None:
        """Take the number of n-grams from the weights."""
        for name, buffer in list(self.named_buffers(recurse=False)):
            if (key := prefix + name) in state and state[key].shape != buffer.shape:
                setattr(self, name, buffer.new_zeros(state[key].shape))
        self._tables = None
        super()._load_from_state_dict(state, prefix, *rest)

    def tables(self) -> tuple[Grams, Grams]:
        """Return the columns of n-grams, and of the 1-grams of earlier utterances."""
        if self._tables is None:
            pairs = self.grams.tolist()
            self._tables = (
                {(a, b) if b else (a,): i for i, (a, b) in enumerate(pairs)},
                {(a,): i for i, a in enumerate(self.single.tolist())},
            )
        return self._tables

    def encode(self, tokens: Tensor, length: Tensor, role: Tensor, extra: State) -> Tensor:
        """(N, S), (N), (N) -> (N, 3 K + SET): parts of the log-odds, and the token set."""
        grams, single = self.tables()
        rows = len(self.bias)
        found = self.own.new_full((len(tokens), 3 * rows + SET), -1.0)
        found[:, : 3 * rows] = 0.0
        idf, idf_single = self.grams_idf.tolist(), self.single_idf.tolist()
        for n, (ids, size, who) in enumerate(
            zip(tokens.tolist(), length.tolist(), role.tolist(), strict=True)
        ):
            sentence = ids[:size]
            columns, values = weigh(ngrams(sentence, 2), grams, idf)
            value = self.own.new_tensor(values)
            part = self.own[:, columns] @ value + self.dense[:, 1 - who] + self.bias
            if who:
                part = part + self.customer[:, columns] @ value
            found[n, :rows] = part + self.dense[:, 3] * math.log1p(size) / 4
            columns, values = weigh(ngrams(sentence, 1), single, idf_single)
            later = self.previous[:, :, columns] @ self.own.new_tensor(values)
            found[n, rows : 3 * rows] = later.flatten()
            members = sorted(set(sentence))[:SET]
            found[n, 3 * rows : 3 * rows + len(members)] = self.own.new_tensor(members)
        return found

    def context(self, x: Tensor, role: Tensor, mask: Tensor) -> Context:
        """(B, T, X) -> contexts: a scan of `step`, for there is nothing to be gained."""
        state, odds = self.start(len(x)), []
        for turn in range(x.shape[1]):
            now, state = self._advance(x[:, turn], role[:, turn], state)
            odds.append(now)
        return self._context(torch.stack(odds, dim=1))

    def start(self, batch: int) -> State:
        """Return the state: two parts to come, eight token sets, and a count of turns."""
        rows, like = len(self.bias), self.own
        return {
            "parts": like.new_zeros(batch, 3, rows),  # of j-1 for now; of j-1 for j+1; of j-2
            "sets": like.new_full((batch, BACK, SET), -1.0),
            "roles": like.new_full((batch, BACK), -1.0),
            "count": like.new_zeros(batch),
        }

    def step(self, x: Tensor, role: Tensor, state: State) -> tuple[Context, State]:
        """(B, X), (B) -> one context."""
        odds, new = self._advance(x, role, state)
        return self._context(odds), new

    def _advance(self, x: Tensor, role: Tensor, state: State) -> tuple[Tensor, State]:
        rows = len(self.bias)
        own, next_one, next_two = x[:, :rows], x[:, rows : 2 * rows], x[:, 2 * rows : 3 * rows]
        members, parts, count = x[:, 3 * rows :], state["parts"], state["count"]
        overlap = jaccard(members, state["sets"])
        same = state["roles"] == role[:, None]
        dense = torch.stack(
            [
                count.clamp(max=20) / 20,
                overlap.amax(1),
                overlap.masked_fill(~same, 0.0).amax(1),
                same[:, -1].to(x.dtype),
            ],
            dim=1,
        )
        odds = own + parts[:, 0] + parts[:, 2] + dense @ self.dense[:, [2, 4, 5, 6]].t()
        new = {
            "parts": torch.stack([next_one, next_two, parts[:, 1]], dim=1),
            "sets": torch.cat([state["sets"][:, 1:], members[:, None]], dim=1),
            "roles": torch.cat([state["roles"][:, 1:], role[:, None].to(x.dtype)], dim=1),
            "count": count + 1,
        }
        return self.scale * odds + self.shift, new

    def _context(self, odds: Tensor) -> Context:
        d = odds[..., 0]
        if not self.has_state:
            return Context(d[..., None], d)
        return Context(d[..., None], d, (odds[..., 1:].softmax(-1), torch.zeros_like(d)))


def ngrams(sentence: Sequence[int], longest: int) -> Counter[tuple[int, ...]]:
    """Count the n-grams of known tokens."""
    found: Counter[tuple[int, ...]] = Counter((t,) for t in sentence if t != UNKNOWN)
    if longest == 2:
        found.update(
            (a, b) for a, b in zip(sentence, sentence[1:], strict=False) if UNKNOWN not in (a, b)
        )
    return found


def weigh(
    counts: Counter[tuple[int, ...]], columns: Grams, idf: Sequence[float]
) -> tuple[list[int], list[float]]:
    """Return columns and TF-IDF values, (1 + log count) idf, scaled to length 1."""
    known = [(columns[gram], count) for gram, count in counts.items() if gram in columns]
    values = [(1 + math.log(count)) * idf[column] for column, count in known]
    norm = math.sqrt(math.fsum(v * v for v in values)) or 1.0
    return [column for column, _ in known], [value / norm for value in values]


def jaccard(members: Tensor, sets: Tensor) -> Tensor:
    """(B, SET), (B, W, SET) -> (B, W): shared over all members; places with -1 are empty."""
    one, many = members >= 0, sets >= 0
    equal = (members[:, None, :, None] == sets[:, :, None, :]) & one[:, None, :, None]
    shared = equal.sum((2, 3)).to(members.dtype)
    union = one.sum(1)[:, None] + many.sum(2) - shared
    return shared / union.clamp(min=1)
