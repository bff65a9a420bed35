"""Pickled corpora (RSSN, CEM, DAMI) and vocabularies, through the reader that runs nothing.

mhch  token ids, lengths, dialogue lengths, session ids, roles (1 customer), handoff, sentiment,
satisfaction
dami  token ids, roles (0 customer!), tf, part of speech, sentiment, lengths, dialogue lengths,
labels
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from qr_cli.engine.damage import damaged
from qr_cli.engine.unpickle import Shell, load_pickles
from qr_cli.errors import DataError
from qr_cli.handoff.mhch import AGENT, CUSTOMER, Dialogue, Utterance

OBJECTS, TF_TURNS, DAMI_TOKENS = 8, 30, 50
VOCABULARY = {"vocab.Vocab": Shell}


def load(path: Path) -> list[Any]:
    """Return the eight objects of a corpus.

    Raises:
        DataError: the file is damaged, or holds something else.
    """
    return load_pickles(path, OBJECTS, kind="handoff", encoding="latin1")


def sniff(path: Path) -> str:
    """Return "mhch" or "dami" for a file of pickles.

    Raises:
        DataError: it is neither.
    """
    objects = load(path)
    if not isinstance(objects[3], list | tuple):
        raise DataError(f"{path} holds a {type(objects[3]).__name__} where a list belongs")
    if len(objects[3]) and all(isinstance(name, str) for name in objects[3]):
        return "mhch"
    if isinstance(objects[2], np.ndarray) and objects[2].ndim == 3 and objects[2].dtype.kind == "f":
        return "dami"
    raise DataError(f"{path} holds eight pickles that are neither mhch nor dami")


def read_mhch(path: Path) -> list[Dialogue]:
    """Read the pickles of RSSN and CEM; roles: 1 customer, 0 agent.

    Raises:
        DataError: the file is damaged or of another kind.
    """
    with damaged(path):
        return _mhch(path)


def _mhch(path: Path) -> list[Dialogue]:
    ids, lengths, _, names, roles, handoff, sentiment, satisfaction = load(path)
    _same_length(path, ids, lengths, names, roles, handoff, sentiment, satisfaction)
    dialogues = []
    for i, name in enumerate(names):
        turns = _turns(path, i, ids[i], lengths[i], roles[i], handoff[i], sentiment[i])
        utterances = [
            Utterance(
                CUSTOMER if role == 1 else AGENT,
                tokens=[int(t) for t in tokens[: int(length)]],
                handoff=float(label),
                sentiment=int(feeling),
            )
            for tokens, length, role, label, feeling in turns
        ]
        dialogues.append(Dialogue(str(name), utterances, int(satisfaction[i])))
    return dialogues


def read_dami(path: Path) -> list[Dialogue]:
    """Read the pickles of DAMI; roles: 0 customer, 1 agent.

    Raises:
        DataError: the file is damaged or of another kind.
    """
    with damaged(path):
        return _dami(path)


def _dami(path: Path) -> list[Dialogue]:
    ids, roles, tf, pos, _, lengths, _, labels = load(path)
    _same_length(path, ids, roles, tf, pos, lengths, labels)
    dialogues = []
    for i in range(len(ids)):
        utterances = []
        for j, (tokens, role, tags, length, label) in enumerate(
            _turns(path, i, ids[i], roles[i], pos[i], lengths[i], labels[i])
        ):
            size = min(int(length), DAMI_TOKENS)
            weights = [float(v) for v in tf[i][j][:size]] if j < min(TF_TURNS, len(tf[i])) else None
            utterances.append(
                Utterance(
                    CUSTOMER if role == 0 else AGENT,
                    tokens=[int(t) for t in tokens[:size]],
                    handoff=float(label),
                    pos=[int(t) for t in tags[:size]],
                    tf=weights,
                )
            )
        dialogues.append(Dialogue(f"{path.stem}_{i}", utterances))
    return dialogues


def read_vocabulary(path: Path) -> tuple[list[Any], np.ndarray]:
    """Return tokens by id and their vectors (V, 200) of a pickled vocabulary.

    Raises:
        DataError: the file is damaged or of another kind.
    """
    (found,) = load_pickles(path, 1, kind="vocabulary", encoding="latin1", shells=VOCABULARY)
    tokens, vectors = getattr(found, "id2token", None), getattr(found, "embeddings", None)
    if not isinstance(tokens, dict | list) or not isinstance(vectors, np.ndarray):
        raise DataError(f"{path} holds no vocabulary (id2token and embeddings)")
    if vectors.ndim != 2 or len(vectors) != len(tokens):
        raise DataError(f"{path}: {len(tokens)} tokens but vectors of shape {vectors.shape}")
    try:
        return [tokens[i] for i in range(len(tokens))], vectors
    except (KeyError, IndexError) as error:
        raise DataError(f"{path}: id {error} has no token") from error


def _same_length(path: Path, *columns: Any) -> None:
    for column in columns:
        if not isinstance(column, list | tuple | np.ndarray):
            raise DataError(f"{path} holds a {type(column).__name__} where a list belongs")
    lengths = [len(c) for c in columns]
    if len(set(lengths)) > 1:
        raise DataError(f"{path}: its lists differ in length: {lengths}")


def _turns(path: Path, index: int, *columns: Any) -> list[tuple[Any, ...]]:
    try:
        found = list(zip(*columns, strict=True))
        for row in found:
            for value in row:
                if np.ndim(value) == 0:
                    float(value)
                else:
                    np.asarray(value, dtype=np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{path}: dialogue {index} is damaged: {error}") from error
    if not found:
        raise DataError(f"{path}: dialogue {index} has no utterances")
    return found
