"""CEM: causal enhancement of a handoff model (EMNLP 2022, arXiv 2210.02862), as a plug-in.

The user state corrects the bias of the log-odds d of any base:

    N_t = sum_{j<=t} w_j l_j      W_t = sum_{j<=t} w_j      w = exp(e) on customer turns, else 0
    u_t = (N_t + kappa pi) / (W_t + kappa)                  running state, agent turns carry it
    c_t = l_t on customer turns, u_t on agent turns
    n_t = clamp((c_t[0] + u_t[0]) / 2, 1e-4, 1 - 1e-4)
    d~_t = d_t + beta (logit n_t - logit pi_0),  beta = softplus(b)

l are the three user states (0 negative, 1 neutral, 2 positive), pi their shares in the training
data. beta >= 0: a worse user state never makes a transfer less likely. Before the first customer
turn the correction is 0.

Differs from the authors' code, which multiplies both class probabilities by the state without
renormalising, is 0 on agent turns and sees the whole dialogue: `released.py` has that form. The
labour cost is a loss (`losses.py`) with scores of a trained simulator (`simulator.py`).

Shapes: B dialogues, T utterances.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qr_cli.handoff.bases import Context, State
from qr_cli.handoff.corpus import EXTRAS, Batch, spread_roles

Gate = Literal["corrected", "off", "none"]
KAPPA = 0.5  # prior customer turns
BETA = 0.5  # at the start
CLAMP = 1e-4  # of the share of the negative state
WEIGHT_LIMIT = 5.0  # of |e|
UNIFORM = (1 / 3, 1 / 3, 1 / 3)


class Scores(NamedTuple):
    """What a model says of each utterance; leading dimensions (B, T), or (B) for one step.

    Attributes:
        base: log-odds d before the correction.
        odds: log-odds d~ after it; the same without a correction.
        local: user states l, or None.
        state: running user states u, or None.
        overall: (B, 3) weighted states of the customer turns, N_T / W_T, or None.
        gated: (B, T, 2) probabilities of the published gate (`released.py` alone).
    """

    base: Tensor
    odds: Tensor
    local: Tensor | None = None
    state: Tensor | None = None
    overall: Tensor | None = None
    gated: Tensor | None = None


class CEM(nn.Module):
    """A base with user state and correction.

    Args:
        base: an object with the protocol of `bases`.
        prior: pi, shares of the three states.
        kappa: prior mass, in customer turns.
        beta: strength of the correction at the start.
        gate: "corrected"; "off": user states are trained but correct nothing; "none": the base
            alone, with no user states unless it has its own.
        fixed_beta: keep beta as it is.
        center: what logit n is compared with, if not logit pi_0.
    """

    def __init__(
        self,
        base: Any,
        *,
        prior: tuple[float, float, float] = UNIFORM,
        kappa: float = KAPPA,
        beta: float = BETA,
        gate: Gate = "corrected",
        fixed_beta: bool = False,
        center: float | None = None,
    ) -> None:
        super().__init__()
        self.base, self.gate, self.kappa = base, gate, kappa
        if len(prior) != 3:
            raise ValueError(f"a prior of {len(prior)} states, not 3")
        self.prior = tuple(prior)
        low = min(max(prior[0], CLAMP), 1 - CLAMP)
        self.center = math.log(low / (1 - low)) if center is None else center
        self.dropout = nn.Dropout(getattr(getattr(base, "dropout", None), "p", 0.0))
        self.local: nn.Linear | None = None
        self.weight: nn.Linear | None = None
        if gate != "none" and not base.has_state:
            self.local, self.weight = nn.Linear(base.hidden, 3), nn.Linear(base.hidden, 1)
        if gate == "corrected":
            raw = torch.tensor(math.log(math.expm1(beta)) if beta > 0 else -math.inf)
            if fixed_beta:
                self.register_buffer("raw_beta", raw)
            else:
                self.raw_beta = nn.Parameter(raw)

    @property
    def beta(self) -> Tensor:
        """Return the strength of the correction."""
        return F.softplus(self.raw_beta)

    def forward(self, batch: Batch) -> Scores:
        """Score whole dialogues."""
        x = self.encode(batch)
        role, mask = spread_roles(batch), batch["mask"]
        return self.score(self.base.context(x, role, mask), role, mask)

    def encode(self, batch: Batch) -> Tensor:
        """Return utterance vectors in their places (B, T, X), zeros at padding."""
        extra = {name: batch[name] for name in EXTRAS if name in batch}
        found = self.base.encode(batch["tokens"], batch["length"], batch["role"], extra)
        mask = batch["mask"]
        x = found.new_zeros(mask.numel(), found.shape[-1])
        return x.index_put((batch["place"],), found).view(*mask.shape, -1)

    def score(self, context: Context, role: Tensor, mask: Tensor) -> Scores:
        """Return the scores of contexts (B, T, ..)."""
        states = self.states(context)
        if states is None:
            return Scores(context.d, context.d)
        local, weight = states
        own = weight.exp() * role * mask  # w
        mass = (own[..., None] * local).cumsum(1)  # N
        total = own.cumsum(1)  # W
        state = self.running(mass, total)
        overall = mass[:, -1] / total[:, -1, None].clamp(min=1e-12)
        odds = self.corrected(context.d, local, state, role)
        return Scores(context.d, odds, local, state, overall)

    def start(self, batch: int) -> State:
        """Return the state of conversations that have not begun."""
        state = self.base.start(batch)
        if self.gate != "none" or self.base.has_state:
            some = next(iter(state.values()))
            kind = some.dtype if some.is_floating_point() else torch.float32
            state["cem"] = torch.zeros(batch, 4, dtype=kind, device=some.device)
        return state

    def step(self, x: Tensor, role: Tensor, state: State) -> tuple[Scores, State]:
        """(B, X), (B) -> the scores of one more utterance, and the new state."""
        context, new = self.base.step(x, role, state)
        states = self.states(context)
        if states is None:
            return Scores(context.d, context.d), new
        local, weight = states
        own = weight.exp() * role
        sums = state["cem"] + torch.cat([own[:, None] * local, own[:, None]], dim=-1)
        running = self.running(sums[:, :3], sums[:, 3])
        odds = self.corrected(context.d, local, running, role)
        return Scores(context.d, odds, local, running), new | {"cem": sums}

    def states(self, context: Context) -> tuple[Tensor, Tensor] | None:
        """Return user states l (.., 3) and log-weights e, if there are any."""
        if context.state is not None:
            return context.state
        if self.local is None or self.weight is None:
            return None
        local = torch.softmax(self.local(self.dropout(context.h)), dim=-1)
        weight = self.weight(context.h).squeeze(-1).clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT)
        return local, weight

    def running(self, mass: Tensor, total: Tensor) -> Tensor:
        """Return u from the running sums."""
        return (mass + self.kappa * mass.new_tensor(self.prior)) / (total + self.kappa)[..., None]

    def corrected(self, d: Tensor, local: Tensor, state: Tensor, role: Tensor) -> Tensor:
        """Return d~."""
        if self.gate != "corrected":
            return d
        current = torch.where(role.bool(), local[..., 0], state[..., 0])
        n = ((current + state[..., 0]) / 2).clamp(CLAMP, 1 - CLAMP)
        return d + self.beta * (torch.logit(n) - self.center)
