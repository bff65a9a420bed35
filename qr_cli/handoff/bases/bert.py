"""Base `bert`: any Hugging Face text encoder from a local folder, then the context of `gru`.

Each utterance is encoded alone (word pieces, mean of the last hidden states over real ones).
Frozen, the encoder stands outside the weights of a checkpoint, and in training every distinct
utterance is encoded once. Safetensors only; nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qr_cli.errors import MissingExtra, WeightsError
from qr_cli.handoff.bases import Context, State
from qr_cli.handoff.bases.gru import ROLE_WIDTH
from qr_cli.handoff.tokens import Encoder, Vocabulary

CHUNK = 64  # utterances of one pass when vectors are made
SLOW = 2e-5 / 1.5e-3  # rate of the encoder, as a factor of the rest


class Bert(nn.Module):
    """See the module.

    Args:
        encoder: folder of the text encoder.
        hidden: of the context.
        dropout: of utterance vectors and contexts.
        freeze: keep the encoder as it is.
    """

    window = None
    has_state = False
    slow_scale = SLOW

    def __init__(
        self, encoder: str, *, hidden: int = 128, dropout: float = 0.35, freeze: bool = True
    ) -> None:
        super().__init__()
        self.hidden, self.freeze = hidden, freeze
        text = _from_folder("AutoModel", encoder)
        for parameter in text.parameters():
            parameter.requires_grad_(not freeze)
        self.text: Any = [text] if freeze else text  # a list keeps it out of the weights
        self.width = int(text.config.hidden_size)
        self.role = nn.Embedding(2, ROLE_WIDTH)
        self.turns = nn.GRU(self.width + ROLE_WIDTH, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 1)
        self.dropout = nn.Dropout(dropout)
        self._rows: Tensor | None = None

    def slow_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the encoder's parameters, which are trained at a lower rate."""
        return iter(()) if self.freeze else self.text.parameters()

    def prepare(self, vocabulary: Any, corpus: Any) -> None:
        """Encode every distinct utterance of the training data once."""
        if not self.freeze:
            return
        sentences = [tuple(corpus.sentence(u)) for u in range(len(corpus.role))]
        distinct = {s: i for i, s in enumerate(dict.fromkeys(sentences))}
        corpus.extras["row"] = torch.tensor([distinct[s] for s in sentences]).numpy()
        vectors = []
        ordered = list(distinct)
        for first in range(0, len(ordered), CHUNK):
            part = ordered[first : first + CHUNK]
            length = torch.tensor([len(s) for s in part])
            tokens = torch.zeros(len(part), int(length.max()), dtype=torch.long)
            for row, sentence in enumerate(part):
                tokens[row, : len(sentence)] = torch.tensor(sentence)
            vectors.append(self._read(tokens, length))
        self._rows = torch.cat(vectors)

    def encode(self, tokens: Tensor, length: Tensor, role: Tensor, extra: State) -> Tensor:
        """(N, S), (N), (N) -> (N, D + 16)."""
        if "row" in extra and self._rows is not None and self.freeze:
            sentence = self._rows.to(tokens.device)[extra["row"]]
        else:
            sentence = self._read(tokens, length)
        return torch.cat([self.dropout(sentence), self.role(role)], dim=-1)

    def _read(self, tokens: Tensor, length: Tensor) -> Tensor:
        """Return the mean of the last hidden states (N, D)."""
        text = self.text[0] if self.freeze else self.text
        keep = (torch.arange(tokens.shape[1], device=tokens.device) < length[:, None]).long()
        if self.freeze:
            text = text.eval().to(tokens.device)
            with torch.no_grad():
                states = text(input_ids=tokens, attention_mask=keep).last_hidden_state
        else:
            states = text(input_ids=tokens, attention_mask=keep).last_hidden_state
        return (states * keep[..., None]).sum(1) / length[:, None]

    def context(self, x: Tensor, role: Tensor, mask: Tensor) -> Context:
        """(B, T, X) -> contexts."""
        h, _ = self.turns(x)
        return Context(h, self.head(self.dropout(h)).squeeze(-1))

    def start(self, batch: int) -> State:
        """Return zeros."""
        return {"h": self.head.weight.new_zeros(batch, self.hidden)}

    def step(self, x: Tensor, role: Tensor, state: State) -> tuple[Context, State]:
        """(B, X) -> one context."""
        _, last = self.turns(x[:, None], state["h"][None].contiguous())
        return Context(last[0], self.head(self.dropout(last[0])).squeeze(-1)), {"h": last[0]}


class WordPieces(Encoder):
    """The encoder's own tokeniser behind the interface of `tokens.Encoder`."""

    def __init__(self, folder: str, max_tokens: int) -> None:
        super().__init__("whitespace", Vocabulary([]), max_tokens)
        self.name = "pieces"  # type: ignore[assignment]
        self._pieces = _from_folder("AutoTokenizer", folder)
        self.vocabulary = _Pieces(self._pieces)

    def split(self, text: str | None, tokens: Any) -> list[Any]:
        """Return the word pieces of a text."""
        return self._pieces.tokenize(text_of(text, tokens))


class _Pieces(Vocabulary):
    """Ids of word pieces, with the marks that the encoder wants around them."""

    def __init__(self, pieces: Any) -> None:
        super().__init__([])
        self._pieces = pieces

    def ids(self, tokens: Any, limit: int | None = None) -> list[int]:
        pieces = self._pieces
        ids = pieces.convert_tokens_to_ids(list(tokens))
        first = [] if pieces.cls_token_id is None else [pieces.cls_token_id]
        last = [] if pieces.sep_token_id is None else [pieces.sep_token_id]
        room = None if limit is None else max(1, limit - len(first) - len(last))
        return [*first, *ids[:room], *last] or [pieces.unk_token_id or 0]


def text_of(text: str | None, tokens: Any) -> str:
    """Return the text of an utterance; words are joined by spaces."""
    return text if text is not None else " ".join(map(str, tokens or []))


def word_pieces(folder: str, max_tokens: int) -> WordPieces:
    """Return the tokeniser of a text encoder's folder.

    Raises:
        WeightsError: the folder holds none.
        MissingExtra: transformers is not installed.
    """
    return WordPieces(folder, max_tokens)


def _from_folder(kind: str, folder: str) -> Any:
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise MissingExtra("transformers", "bert") from error
    if not Path(folder).is_dir():
        raise WeightsError(f"--encoder: {folder} is no folder", hint="--encoder FOLDER")
    settings = {"use_safetensors": True} if kind == "AutoModel" else {}
    try:
        return getattr(transformers, kind).from_pretrained(
            folder, local_files_only=True, **settings
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"--encoder: {folder} cannot be used: {reason}") from error
