"""The rows of a training set as numbers: which embedding goes in, which should come out.

    kind of a row, drawn anew each time      in      target
    narrative                                S       C
    identity, with probability p_id          C       C         keyword prompts stay as they are
    empty, with probability p_0              E("")   E("")     guidance keeps its other half

Draws depend on (seed, epoch, place) alone, so that neither resuming nor the number of processes
changes them.
Shapes: B rows of a batch, T tokens, d width of the text encoder, m width of the teacher.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qr_cli.errors import DataError
from qr_cli.generate.cache import Texts
from qr_cli.generate.surd import Row

NARRATIVE, IDENTITY, EMPTY = 0, 1, 2
Batch = dict[str, Tensor]


class Corpus:
    """Rows to train or to validate on.

    Args:
        rows: of a SURD folder.
        texts: embeddings of all their strings and of "".
        vectors: (N, m), of all narratives in the order of `narratives(rows)`; None without teacher.
        identity_share: p_id.
        empty_share: p_0.
        span: rows of an epoch.
        seed: of all draws.
        flip: whether half of the pictures are mirrored.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        texts: Texts,
        *,
        vectors: Tensor | None = None,
        identity_share: float = 0.0,
        empty_share: float = 0.0,
        span: int = 0,
        seed: int = 0,
        flip: bool = False,
    ) -> None:
        self.rows, self.texts = rows, texts
        self.identity_share, self.empty_share = identity_share, empty_share
        self.span, self.seed, self.flip = span, seed, flip
        self._texts = [[texts.ids[text] for text in row.texts] for row in rows]
        self._prompts = [[texts.ids[prompt] for prompt in row.prompts] for row in rows]
        self._vectors: dict[int, Tensor] = {}
        if vectors is not None:
            ids = (texts.ids[text] for text in narratives(rows))
            self._vectors = dict(zip(ids, vectors, strict=True))
        self._draws = lru_cache(maxsize=2)(self._draw)

    def __len__(self) -> int:
        return len(self.rows)

    def fetch(self, places: Tensor, epoch: int) -> Batch:
        """Return a batch of an epoch of `span` places."""
        kinds, chances, mirrored = self._draws(epoch)
        rows = [self._row(epoch * self.span + place) for place in places.tolist()]
        chosen = [
            (_one(self._texts[row], a), _one(self._prompts[row], b))
            for row, (a, b) in zip(rows, chances[places].tolist(), strict=True)
        ]
        flips = mirrored[places].long() if self.flip else torch.zeros(len(rows), dtype=torch.long)
        return self._batch(torch.tensor(chosen), kinds[places]) | {
            "picture": torch.tensor(rows) + flips * len(self.rows)
        }

    def first(self, numbers: Tensor) -> Batch:
        """Return rows as they stand: their first narrative and prompt."""
        chosen = [(self._texts[i][0], self._prompts[i][0]) for i in numbers.tolist()]
        return self._batch(torch.tensor(chosen), torch.zeros(len(chosen), dtype=torch.long))

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Return mu (T, d), the mean keyword embedding, and its mean squared deviation."""
        ids = torch.tensor([row[0] for row in self._prompts])
        total: Any = 0
        for part in ids.split(1024):
            total = total + self.texts.rows[part].double().sum(0)
        mu = total / len(ids)
        spread = sum(float((self.texts.rows[part] - mu).square().sum()) for part in ids.split(1024))
        return mu.float(), torch.tensor(spread / (len(ids) * mu.numel()))

    def _batch(self, chosen: Tensor, kinds: Tensor) -> Batch:
        text, prompt = chosen.unbind(1)
        empty = torch.full_like(text, self.texts.ids[""])
        source = torch.where(kinds == NARRATIVE, text, torch.where(kinds == EMPTY, empty, prompt))
        target = torch.where(kinds == EMPTY, empty, prompt)
        batch = {
            "x": self.texts.rows[source],
            "target": self.texts.rows[target],
            "kind": kinds,
            "text_id": text,
            "prompt_id": prompt,
            "end": self.texts.ends[text],
        }
        if self._vectors:
            batch["vector"] = torch.stack([self._vectors[i] for i in text.tolist()])
        return batch

    def _draw(self, epoch: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return kinds, chances of variants, and what is mirrored, for each place of an epoch."""
        draw = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch + 500_009)
        share = torch.rand(self.span, generator=draw)
        chances = torch.rand(self.span, 2, generator=draw)
        mirrored = torch.rand(self.span, generator=draw) < 0.5
        kinds = torch.full((self.span,), NARRATIVE)
        kinds[share < self.identity_share + self.empty_share] = EMPTY
        kinds[share < self.identity_share] = IDENTITY
        return kinds, chances, mirrored

    def _row(self, place: int) -> int:
        """Return the row at a place of the endless sequence of shuffled passes."""
        turn, rest = divmod(place, len(self.rows))
        return int(_order(self.seed, turn, len(self.rows))[rest])


def narratives(rows: Iterable[Row]) -> list[str]:
    """Return the distinct narratives of rows, sorted."""
    return sorted({text for row in rows for text in row.texts})


def strings(rows: Iterable[Row], more: Iterable[str] = ()) -> list[str]:
    """Return all distinct strings that are to be encoded, sorted; "" is the first."""
    found = {"", *more}
    for row in rows:
        found.update(row.texts, row.prompts)
    return sorted(found)


def pictures(rows: Iterable[Row]) -> list[Path]:
    """Return the picture of each row.

    Raises:
        DataError: a row has none.
    """
    found = [row.picture for row in rows]
    if None in found:
        raise DataError(f"{found.count(None)} rows have no picture", hint="--skip-missing")
    return [path for path in found if path is not None]


def digest(rows: Iterable[Row]) -> str:
    """Return the sha256 of what rows say."""
    sha = hashlib.sha256()
    for row in rows:
        sha.update(repr((row.texts, row.prompts)).encode("utf-8"))
    return sha.hexdigest()


@lru_cache(maxsize=4)
def _order(seed: int, turn: int, size: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed * 1_000_003 + turn)
    return torch.randperm(size, generator=draw)


def _one(ids: Sequence[int], chance: float) -> int:
    return ids[int(chance * len(ids))]
