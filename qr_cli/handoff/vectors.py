"""Word vectors to start from: an array whose rows are ids, or word2vec text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from qr_cli.engine.arrays import load_npy
from qr_cli.engine.damage import damaged
from qr_cli.errors import DataError
from qr_cli.handoff.tokens import Vocabulary


def load_vectors(embedding: nn.Embedding, vocabulary: Vocabulary, file: str) -> int:
    """Put vectors into the rows of known tokens; return how many were found.

    Args:
        embedding: of the model.
        vocabulary: its tokens; whole numbers are rows of an array.
        file: ``.npy`` with row = id, or text with "word x1 x2 .." a line.

    Raises:
        DataError: the file cannot be read, or has another width.
    """
    found = 0
    width = embedding.embedding_dim
    with torch.no_grad():
        for token, vector in _vectors(Path(file), vocabulary):
            if len(vector) != width:
                raise DataError(
                    f"--embeddings: {file} has {len(vector)} numbers a word, the model {width}",
                    hint=f"--embed-dim {len(vector)}",
                )
            embedding.weight[vocabulary.index[token]] = torch.as_tensor(vector)
            found += 1
    if not found:
        raise DataError(f"--embeddings: {file} holds none of the {len(vocabulary)} tokens")
    return found


def _vectors(file: Path, vocabulary: Vocabulary) -> Iterator[tuple[Any, np.ndarray]]:
    with damaged(f"--embeddings: {file}"):
        if file.suffix == ".npy":
            rows = load_npy(file).astype(np.float32)
            if rows.ndim != 2:
                raise DataError(f"--embeddings: {file} has the shape {rows.shape}, not two axes")
            for token in vocabulary.tokens:
                if isinstance(token, int) and token < len(rows):
                    yield token, rows[token]
            return
        with file.open(encoding="utf-8") as lines:
            for line in lines:
                word, *numbers = line.rstrip().split(" ")
                if word in vocabulary.index and len(numbers) > 1:
                    yield word, np.array(numbers, dtype=np.float32)
