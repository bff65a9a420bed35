"""The networks that read a dialogue: a table of names, and what each must offer.

A base is one file and one line here. It scores one utterance at a time; `context` and `step` are
two ways to the same numbers, one over whole dialogues and one over a live conversation.

Shapes: N sentences, S tokens, B dialogues, T utterances, X width of an utterance vector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from qr_cli.registry import Entry, Registry

if TYPE_CHECKING:
    from torch import Tensor

State = dict[str, Any]  # of tensors; listing names imports no torch

HANDOFF_BASES = Registry(
    "base",
    {
        "gru": Entry("qr_cli.handoff.bases.gru:GRU", "BiGRU, token attention, context GRU"),
        "lr": Entry("qr_cli.handoff.bases.lr:LR", "logistic regression on n-grams"),
        "rssn": Entry("qr_cli.handoff.bases.rssn:RSSN", "role-selected sharing network, causal"),
        "dami": Entry("qr_cli.handoff.bases.dami:DAMI", "difficulty attention, causal"),
        "bert": Entry("qr_cli.handoff.bases.bert:Bert", "text encoder of a local folder"),
    },
    group="qr_cli.handoff_bases",
    listing="qr list bases",
)


class Context(NamedTuple):
    """What a base knows at each utterance.

    Attributes:
        h: context vectors (B, T, H).
        d: log-odds of a transfer (B, T).
        state: user states l (B, T, 3) and their weights e (B, T), if the base has them.
    """

    h: Tensor
    d: Tensor
    state: tuple[Tensor, Tensor] | None = None


class Base(Protocol):
    """What `CEM` wraps; a `torch.nn.Module`.

    Attributes:
        hidden: width H of context vectors.
        window: how many turns back it looks; None: it is recurrent, a turn costs the same always.
        has_state: whether contexts carry user states.
    """

    hidden: int
    window: int | None
    has_state: bool

    def encode(self, tokens: Tensor, length: Tensor, role: Tensor, extra: State) -> Tensor:
        """(N, S), (N), (N) -> (N, X): utterances alone, without context."""

    def context(self, x: Tensor, role: Tensor, mask: Tensor) -> Context:
        """(B, T, X), (B, T), (B, T) -> contexts; none depends on a later utterance."""

    def start(self, batch: int) -> State:
        """Return the state of conversations that have not begun."""

    def step(self, x: Tensor, role: Tensor, state: State) -> tuple[Context, State]:
        """(B, X), (B) -> the context of one more utterance (no T), and the new state."""
