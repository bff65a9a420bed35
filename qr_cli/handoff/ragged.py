"""Recurrence over sentences of any lengths, without a wasted step: fast on a CPU.

Sentences are sorted by falling length and laid out time by time, so the ones still running at time
t are the first n_t. `run` takes the weights of an `nn.GRU` or `nn.LSTM` and gives its outputs; its
backward pass is written out, because torch's own copies whole tensors at each time step (measured
in benchmarks/handoff_speed.py).

    GRU   r, z = s(W x + b + U h + c), n = tanh(W x + b + r (U h + c)), h' = (1 - z) n + z h
    LSTM  i, f, o = s(..), g = tanh(..), c' = f c + i g, h' = o tanh c'

Shapes: N sentences, P tokens of all of them, D width, H hidden.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from qr_cli.handoff.layers import masked_softmax


class Ragged:
    """The layout of sentences with these lengths (each at least 1).

    Attributes:
        sizes: sentences running at each time.
        index: where in (N, S), flattened, each of the P tokens stands.
        back: for each of the P places the place of the token that a backward run sees there.
        sentence: of each of the P tokens.
        last: place of the last token of each sentence, and of its last in a backward run.
    """

    def __init__(self, length: Tensor, width: int) -> None:
        count = len(length)
        self.shape = (count, width)
        order = torch.argsort(length, descending=True, stable=True)
        ranked = length[order]
        time = torch.arange(int(ranked[0]) if count else 0, device=length.device)
        running = ranked[None] > time[:, None]  # (S, N)
        self.sizes: list[int] = running.sum(1).tolist()
        at, rank = running.nonzero(as_tuple=True)
        self.sentence = order[rank]
        self.index = self.sentence * width + at
        start = torch.zeros(len(self.sizes) + 1, dtype=torch.long, device=length.device)
        start[1:] = torch.tensor(self.sizes, device=length.device).cumsum(0)
        self.back = start[ranked[rank] - 1 - at] + rank
        self.last = torch.empty(count, dtype=torch.long, device=length.device)
        self.last[order] = start[ranked - 1] + torch.arange(count, device=length.device)

    def gather(self, values: Tensor) -> Tensor:
        """(N, S) -> (P): values of the tokens."""
        return values.reshape(-1)[self.index]

    def softmax(self, scores: Tensor) -> Tensor:
        """(P) -> (P): a softmax over the tokens of each sentence."""
        count, width = self.shape
        table = scores.new_full((count * width,), -torch.inf).index_put((self.index,), scores)
        table = table.view(count, width)
        return masked_softmax(table, ~table.isneginf()).view(-1)[self.index]

    def total(self, values: Tensor) -> Tensor:
        """(P, D) -> (N, D): the sum over the tokens of each sentence."""
        return values.new_zeros(self.shape[0], values.shape[1]).index_add(0, self.sentence, values)


def run(rnn: nn.Module, x: Tensor, ragged: Ragged) -> tuple[Tensor, Tensor]:
    """Run a bidirectional `nn.GRU` or `nn.LSTM` over the tokens.

    Returns:
        Its outputs (P, 2H) and its final states (N, 2H), each forward then backward.
    """
    kind: Any = _Gru if isinstance(rnn, nn.GRU) else _Lstm
    weights: Any = rnn
    ahead = kind.apply(
        x, weights.weight_ih_l0, weights.weight_hh_l0, weights.bias_ih_l0, weights.bias_hh_l0,
        ragged.sizes,
    )  # fmt: skip
    behind = kind.apply(
        x[ragged.back], weights.weight_ih_l0_reverse, weights.weight_hh_l0_reverse,
        weights.bias_ih_l0_reverse, weights.bias_hh_l0_reverse, ragged.sizes,
    )  # fmt: skip
    final = torch.cat([ahead[ragged.last], behind[ragged.last]], dim=-1)
    return torch.cat([ahead, behind[ragged.back]], dim=-1), final


class _Gru(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, wi: Tensor, wh: Tensor, bi: Tensor, bh: Tensor, sizes: list[int]
    ) -> Tensor:
        width = wh.shape[1]
        gates = torch.addmm(bi, x, wi.t())
        out = x.new_empty(len(x), width)
        inner = x.new_empty(len(x), width)  # U h + c of the candidate
        h, place, transposed = x.new_zeros(sizes[0] if sizes else 0, width), 0, wh.t()
        for size in sizes:
            here = slice(place, place + size)
            h = h[:size]
            own = torch.addmm(bh, h, transposed)
            gate = gates[here]
            both = gate[:, : 2 * width].add_(own[:, : 2 * width]).sigmoid_()
            candidate = gate[:, 2 * width :]
            inner[here] = own[:, 2 * width :]
            candidate.addcmul_(both[:, :width], own[:, 2 * width :]).tanh_()
            h = torch.lerp(candidate, h, both[:, width:])
            out[here] = h
            place += size
        ctx.save_for_backward(x, wi, wh, gates, inner, out)
        ctx.sizes = sizes
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, wi, wh, gates, inner, out = ctx.saved_tensors
        sizes, width = ctx.sizes, wh.shape[1]
        r, z, n = gates.split(width, dim=1)
        before = _before(out, sizes)
        # what does not depend on the gradient coming back
        dn_factor = (1 - z) * (1 - n * n)
        dz_factor = (before - n) * z * (1 - z)
        dr_factor = inner * r * (1 - r)
        delta = torch.empty_like(gates)
        hidden = torch.empty_like(gates)
        flow, place = grad.new_zeros(0, width), len(x)
        for size in reversed(sizes):
            here = slice(place - size, place)
            total = grad[here].clone()
            total[: len(flow)] += flow
            dn = total * dn_factor[here]
            step, own = delta[here], hidden[here]
            torch.mul(dn, dr_factor[here], out=step[:, :width])
            torch.mul(total, dz_factor[here], out=step[:, width : 2 * width])
            step[:, 2 * width :] = dn
            own[:, : 2 * width] = step[:, : 2 * width]
            torch.mul(dn, r[here], out=own[:, 2 * width :])
            flow = torch.addmm(total * z[here], own, wh)
            place -= size
        return (
            delta @ wi, delta.t() @ x, hidden.t() @ before, delta.sum(0), hidden.sum(0), None,
        )  # fmt: skip


class _Lstm(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, wi: Tensor, wh: Tensor, bi: Tensor, bh: Tensor, sizes: list[int]
    ) -> Tensor:
        width = wh.shape[1]
        gates = torch.addmm(bi + bh, x, wi.t())
        out, cells = x.new_empty(len(x), width), x.new_empty(len(x), width)
        h = c = x.new_zeros(sizes[0] if sizes else 0, width)
        place, transposed = 0, wh.t()
        for size in sizes:
            here = slice(place, place + size)
            gate = gates[here].addmm_(h[:size], transposed)
            gate[:, : 2 * width].sigmoid_()
            gate[:, 2 * width : 3 * width].tanh_()
            gate[:, 3 * width :].sigmoid_()
            i, f, g, o = gate.split(width, dim=1)
            c = torch.addcmul(i * g, f, c[:size])
            h = o * torch.tanh(c)
            cells[here], out[here] = c, h
            place += size
        ctx.save_for_backward(x, wi, wh, gates, cells, out)
        ctx.sizes = sizes
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, wi, wh, gates, cells, out = ctx.saved_tensors
        sizes, width = ctx.sizes, wh.shape[1]
        i, f, g, o = gates.split(width, dim=1)
        before, memory = _before(out, sizes), _before(cells, sizes)
        bent = torch.tanh(cells)
        factors = torch.cat(
            [g * i * (1 - i), memory * f * (1 - f), i * (1 - g * g), bent * o * (1 - o)], dim=1
        )
        slope = o * (1 - bent * bent)
        delta = torch.empty_like(gates)
        flow = flow_c = grad.new_zeros(0, width)
        place = len(x)
        for size in reversed(sizes):
            here = slice(place - size, place)
            total = grad[here].clone()
            total[: len(flow)] += flow
            cell = total * slope[here]
            cell[: len(flow_c)] += flow_c
            step = delta[here]
            for number in range(3):
                part = slice(number * width, (number + 1) * width)
                torch.mul(cell, factors[here, part], out=step[:, part])
            torch.mul(total, factors[here, 3 * width :], out=step[:, 3 * width :])
            flow, flow_c = step @ wh, cell * f[here]
            place -= size
        sums = delta.sum(0)
        return delta @ wi, delta.t() @ x, delta.t() @ before, sums, sums, None


def _before(out: Tensor, sizes: list[int]) -> Tensor:
    """Return the state each step began with: that of the step before, zero at the first."""
    before = torch.zeros_like(out)
    place = 0
    for last, size in zip(sizes, sizes[1:], strict=False):
        before[place + last : place + last + size] = out[place : place + size]
        place += last
    return before
