"""Base `gru` with CEM in NumPy, folded: what `qr handoff` runs, without importing torch.

Embedding and input projection of the sentence GRU become one table per direction (V, 3H), so a
token costs one product with a (H, 3H) matrix. Sentences are sorted by length and the running set
shrinks; both directions run side by side. Sigmoids are written as tanh:
s(x) = (1 + tanh(x / 2)) / 2, the halves folded into the weights. Equal to the network up to
rounding; a test compares them.

A folded model is a copy: after changing weights, fold again.

Shapes: N sentences, S tokens, H hidden, V token ids, X utterance vector.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qr_cli.errors import WeightsError
from qr_cli.handoff.calibrate import sigmoid

Array = np.ndarray
State = dict[str, Array]
CLAMP, LIMIT = 1e-4, 5.0  # as in `cem`


class Step(dict[str, Any]):
    """Scores of one turn of N sessions: "base", "odds" (N), "local", "state" (N, 3) or None."""


class Folded:
    """The folded network.

    Args:
        weights: of a `CEM` around `GRU`, by name.
        card: model.json.
        simulator: weights of a `Pair`, if there is one.

    Raises:
        WeightsError: the weights are not those of the card.
    """

    def __init__(
        self,
        weights: Mapping[str, Array],
        card: Mapping[str, Any],
        simulator: Mapping[str, Array] | None = None,
    ) -> None:
        try:
            self._fold(weights, card)
            self.nets = [_Net(simulator, i) for i in range(2)] if simulator else []
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(f"the weights do not fit model.json: {error}") from error

    def _fold(self, w: Mapping[str, Array], card: Mapping[str, Any]) -> None:
        cem = card["cem"]
        self.gate = cem["gate"]
        self.prior, self.kappa = np.float32(cem["prior"]), np.float32(cem.get("kappa", 0.5))
        if self.prior.shape != (3,):
            raise ValueError(f"a prior of {self.prior.size} states, not 3")
        low = min(max(float(cem["prior"][0]), CLAMP), 1 - CLAMP)
        center = cem.get("center")
        self.center = math.log(low / (1 - low)) if center is None else center
        embedding = w["base.embedding.weight"]
        if len(embedding) != card["arguments"]["vocabulary"]:
            raise ValueError(f"{len(embedding)} word vectors, {card['arguments']['vocabulary']}")
        tables, hidden, bias = [], [], []
        for end in ("", "_reverse"):
            wi, wh = w[f"base.words.weight_ih_l0{end}"], w[f"base.words.weight_hh_l0{end}"]
            bi, bh = w[f"base.words.bias_ih_l0{end}"], w[f"base.words.bias_hh_l0{end}"]
            width = wh.shape[1]
            offset = bi.copy()
            offset[: 2 * width] += bh[: 2 * width]
            table, kernel = embedding @ wi.T + offset, wh.T.copy()
            table[:, : 2 * width] *= 0.5
            kernel[:, : 2 * width] *= 0.5
            tables.append(table)
            hidden.append(kernel)
            bias.append(bh[2 * width :])
        self.width = width
        self.table = np.stack(tables)  # (2, V, 3H)
        self.kernel = np.ascontiguousarray(np.stack(hidden))  # (2, H, 3H)
        self.bias = np.stack(bias)[:, None]  # (2, 1, H), of the candidate
        self.inner = w["base.attention.inner.weight"].T.copy(), w["base.attention.inner.bias"]
        self.outer = w["base.attention.outer.weight"][0], w["base.attention.outer.bias"]
        self.role = w["base.role.weight"]
        self.turns = _fold_cell(w, "base.turns.")
        self.head = w["base.head.weight"][0], float(w["base.head.bias"][0])
        self.local = self.weight = None
        if self.gate != "none":
            self.local = w["local.weight"].T.copy(), w["local.bias"]
            self.weight = w["weight.weight"][0], float(w["weight.bias"][0])
        self.beta = float(np.logaddexp(0, w["raw_beta"])) if self.gate == "corrected" else 0.0

    # sentences -------------------------------------------------------------------------------

    def encode(
        self, sentences: Sequence[Sequence[int]], roles: Sequence[int], extras: Any = None
    ) -> Array:
        """Return utterance vectors (N, X), with what the simulator needs behind."""
        x, _ = self._sentences(sentences)
        parts = [x, self.role[np.asarray(roles, dtype=np.int64)]]
        parts += [net.encode(sentences) for net in self.nets]
        return np.concatenate(parts, axis=1)

    def token_weights(self, sentence: Sequence[int]) -> Array:
        """Return where the encoder looked."""
        return self._sentences([sentence])[1][0, : len(sentence)]

    def _sentences(self, sentences: Sequence[Sequence[int]]) -> tuple[Array, Array]:
        """Return sentence vectors (N, 2H) and attention weights (N, S)."""
        count, width = len(sentences), self.width
        length = np.array([len(s) for s in sentences])
        order = np.argsort(-length, kind="stable")
        ranked = length[order]
        # Tokens stand time by time, so those still running at a time are the first ones there.
        running = np.searchsorted(-ranked, -np.arange(1, ranked[0] + 1), side="right")
        start = np.concatenate([[0], np.cumsum(running)])
        rank, time = np.repeat(np.arange(count), ranked), _counting(ranked)
        place = start[time] + rank  # of each token, sentence by sentence
        back = start[ranked[rank] - 1 - time] + rank  # of the same in the second direction
        flat = np.fromiter((i for n in order for i in sentences[n]), np.int64, len(rank))
        ids = np.empty((2, len(flat)), dtype=np.int64)
        ids[0, place], ids[1, back] = flat, flat
        out = np.empty((2, len(flat), width), dtype=np.float32)
        h = np.zeros((2, count, width), dtype=np.float32)
        for first, size in zip(start, running, strict=False):
            here = slice(first, first + size)
            gate = np.stack([self.table[way][ids[way, here]] for way in (0, 1)])
            h = _advance(gate, h[:, :size], self.kernel, self.bias, width)
            out[:, here] = h
        both = np.concatenate([out[0][place], out[1][back]], axis=1)  # sentence by sentence
        score = np.tanh(both @ self.inner[0] + self.inner[1]) @ self.outer[0]
        begin = np.concatenate([[0], np.cumsum(ranked)[:-1]])
        score = np.exp(score - np.maximum.reduceat(score, begin)[rank])
        share = score / np.add.reduceat(score, begin)[rank]
        x = np.empty((count, 2 * width), np.float32)
        x[order] = np.add.reduceat(both * share[:, None], begin)
        weight = np.zeros((count, ranked[0]), np.float32)
        weight[order[rank], time] = share
        return x, weight

    # turns -----------------------------------------------------------------------------------

    def start(self, count: int) -> State:
        """Return the state of conversations that have not begun."""
        state = {"h": np.zeros((count, self.width), np.float32)}
        if self.gate != "none":
            state["cem"] = np.zeros((count, 4), np.float32)
        for number, net in enumerate(self.nets):
            state[f"net{number}"] = np.zeros((count, net.width), np.float32)
        return state

    def step(self, x: Array, role: Array, state: State) -> tuple[Step, State]:
        """(N, X), (N) -> scores of one more turn, and the new state."""
        own = 2 * self.width + self.role.shape[1]
        h = self._turn(x[:, :own], state["h"], self.turns)
        d = h @ self.head[0] + self.head[1]
        new, found = {"h": h}, Step(base=d, odds=d, local=None, state=None, needed=None)
        if self.local is not None and self.weight is not None:
            found |= self._state(h, d, role, state, new)
        if self.nets:
            needed = []
            for number, net in enumerate(self.nets):
                begin = own + number * net.width
                words = np.concatenate(
                    [x[:, begin : begin + net.width], role[:, None].astype(np.float32)], axis=1
                )
                g = self._turn(words, state[f"net{number}"], net.turns)
                new[f"net{number}"] = g
                needed.append(sigmoid(g @ net.head[0] + net.head[1]))
            found["needed"] = (needed[0] + needed[1]) / 2
        return found, new

    def _turn(self, x: Array, h: Array, cell: tuple[Array, Array, Array, Array]) -> Array:
        kernel_in, offset, kernel, bias = cell
        return _advance(x @ kernel_in + offset, h, kernel, bias, h.shape[-1])

    def _state(self, h: Array, d: Array, role: Array, state: State, new: State) -> dict[str, Any]:
        """Return user states and corrected log-odds; see `cem`."""
        assert self.local is not None and self.weight is not None
        logits = h @ self.local[0] + self.local[1]
        local = np.exp(logits - logits.max(1, keepdims=True))
        local /= local.sum(1, keepdims=True)
        weight = np.exp(np.clip(h @ self.weight[0] + self.weight[1], -LIMIT, LIMIT)) * role
        sums = state["cem"] + np.concatenate([weight[:, None] * local, weight[:, None]], axis=1)
        new["cem"] = sums.astype(np.float32)
        running = (sums[:, :3] + self.kappa * self.prior) / (sums[:, 3:] + self.kappa)
        odds = d
        if self.gate == "corrected":
            current = np.where(role == 1, local[:, 0], running[:, 0])
            n = np.clip((current + running[:, 0]) / 2, CLAMP, 1 - CLAMP)
            odds = d + self.beta * (np.log(n) - np.log1p(-n) - self.center)
        return {"odds": odds, "local": local, "state": running}


class _Net:
    """One net of the cost simulator."""

    def __init__(self, w: Mapping[str, Array], number: int) -> None:
        at = f"nets.{number}."
        self.embedding = w[at + "embedding.weight"]
        self.dense = w[at + "dense.weight"].T.copy(), w[at + "dense.bias"]
        self.turns = _fold_cell(w, at + "turns.")
        self.head = w[at + "head.weight"][0], float(w[at + "head.bias"][0])
        self.width = self.turns[2].shape[0]

    def encode(self, sentences: Sequence[Sequence[int]]) -> Array:
        """Return (N, 64): mean and largest of the word vectors, narrowed."""
        length = np.array([len(s) for s in sentences])
        words = self.embedding[np.concatenate([np.asarray(s) for s in sentences])]
        first = np.concatenate([[0], np.cumsum(length)[:-1]])
        mean = np.add.reduceat(words, first) / length[:, None].astype(np.float32)
        both = np.concatenate([mean, np.maximum.reduceat(words, first)], axis=1)
        return np.tanh(both @ self.dense[0] + self.dense[1])


def _counting(lengths: Array) -> Array:
    """Return 0, 1, .. up to each length, back to back."""
    begin = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    return np.arange(lengths.sum()) - np.repeat(begin, lengths)


def _advance(gate: Array, h: Array, kernel: Array, bias: Array, width: int) -> Array:
    """Return the next hidden states; `gate` (.., 3H) holds the input part, halved for r and z."""
    own = np.matmul(h, kernel)
    both = np.tanh(gate[..., : 2 * width] + own[..., : 2 * width])
    both *= 0.5
    both += 0.5
    candidate = np.tanh(gate[..., 2 * width :] + both[..., :width] * (own[..., 2 * width :] + bias))
    return candidate + both[..., width:] * (h - candidate)


def _fold_cell(w: Mapping[str, Array], at: str) -> tuple[Array, Array, Array, Array]:
    """Return input kernel and offset, hidden kernel and the candidate's own bias of a GRU."""
    wi, wh = w[at + "weight_ih_l0"].T.copy(), w[at + "weight_hh_l0"].T.copy()
    bi, bh = w[at + "bias_ih_l0"].copy(), w[at + "bias_hh_l0"]
    width = wh.shape[0]
    bi[: 2 * width] += bh[: 2 * width]
    for part in (wi, wh):
        part[:, : 2 * width] *= 0.5
    bi[: 2 * width] *= 0.5
    return wi, bi, wh, bh[2 * width :]
