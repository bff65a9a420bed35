"""What an adapter does to text embeddings, without a picture.

Cosine and squared error say how near an embedding comes to that of the keywords; whether it says
the same is told by retrieval: is the nearest keyword embedding its own?
Shapes: N prompts, T tokens, d width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from qr_cli.generate import metrics, world
from qr_cli.generate.adapter import SURAdapter
from qr_cli.generate.encode import encode, tokenize
from qr_cli.generate.losses import feature_kl

Row = dict[str, Any]
Figures = dict[str, float]


class Texts(NamedTuple):
    """Embeddings of a suite.

    Attributes:
        narratives: (N, T, d).
        keywords: (N, T, d).
        empty: (1, T, d), of the empty prompt.
        prompts: the keyword prompts.
        ends: (N,), tokens of each keyword prompt up to its end token, that included.
        labels: (N, 2) indices of digit and tint, or None where the rows have no such labels.
        canonical: (60, T, d), of every ``{tint} digit {word}``.
    """

    narratives: Tensor
    keywords: Tensor
    empty: Tensor
    prompts: list[str]
    ends: Tensor
    labels: Tensor | None
    canonical: Tensor


def embed(pipe: Any, rows: Sequence[Row]) -> Texts:
    """Return the embeddings of rows that have a keyword prompt."""
    prompts = [row["prompt"] for row in rows]
    labelled = all({"digit", "tint"} <= set(row.get("label") or ()) for row in rows)
    tints = list(world.TINTS)
    pairs = [(r["label"]["digit"], tints.index(r["label"]["tint"])) for r in rows if labelled]
    return Texts(
        narratives=_encode(pipe, [row["text"] for row in rows]),
        keywords=_encode(pipe, prompts),
        empty=_encode(pipe, [""]),
        prompts=prompts,
        ends=tokenize(pipe.tokenizer, prompts).ends + 1,
        labels=torch.tensor(pairs) if labelled else None,
        canonical=_encode(pipe, [prompt for prompt, _, _ in world.canonical_prompts()]),
    )


def diagnose(texts: Texts, adapter: SURAdapter | None, eta: float) -> dict[str, Figures]:
    """Return figures of "base", or of "adapter" with what it does to keywords and to nothing."""
    if adapter is None:
        return {"base": _figures(texts, texts.narratives)}
    narratives, keywords, empty = (
        _adapt(adapter, x, eta) for x in (texts.narratives, texts.keywords, texts.empty)
    )
    figures = _figures(texts, narratives) | {
        "norm_ratio": metrics.norm_ratio(narratives, texts.narratives),
        "keyword_drift": 1 - metrics.cosine(keywords, texts.keywords, texts.ends),
        "empty_drift": 1 - metrics.cosine(empty, texts.empty, texts.ends.new_tensor([2])),
    }
    return {"adapter": figures, "keyword+adapter": _figures(texts, keywords)}


def mean_figures(several: Sequence[Mapping[str, Figures]]) -> dict[str, Figures]:
    """Return the mean over adapters."""
    first = several[0]
    return {
        name: {key: sum(one[name][key] for one in several) / len(several) for key in first[name]}
        for name in first
    }


def _figures(texts: Texts, embedded: Tensor) -> Figures:
    tokens = embedded.shape[1]
    found = {
        "kl": float(feature_kl(texts.keywords, embedded)) / tokens,
        "cosine": metrics.cosine(embedded, texts.keywords, texts.ends),
        "l2": metrics.distance(embedded, texts.keywords, texts.ends),
        "retrieval": metrics.retrieval(embedded, texts.keywords, texts.prompts),
    }
    if texts.labels is not None:
        nearest = metrics.nearest_labels(embedded, texts.canonical)
        digit, tint = texts.labels.unbind(1)
        found["label_digit"] = float((nearest // len(world.TINTS) == digit).double().mean())
        found["label_tint"] = float((nearest % len(world.TINTS) == tint).double().mean())
    return found


@torch.no_grad()
def _adapt(adapter: SURAdapter, x: Tensor, eta: float, batch_size: int = 256) -> Tensor:
    return torch.cat([adapter(part, eta).out for part in x.split(batch_size)])


def _encode(pipe: Any, texts: Sequence[str], batch_size: int = 256) -> Tensor:
    parts = [encode(pipe, texts[i : i + batch_size]) for i in range(0, len(texts), batch_size)]
    return torch.cat(parts).float().cpu()
