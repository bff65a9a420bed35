"""Pickled corpora (RSSN, CEM, DAMI) and vocabularies, through a reader that runs nothing.

A pickle is a program; this one may name four things of NumPy and one of Python, and in a vocabulary
one class. None of them is used: each name stands for a shell of ours that keeps what it is given,
because NumPy itself crashes on states that were tampered with. Arrays are then made from checked
shells. Anything else ends the reading.

    mhch  token ids, lengths, dialogue lengths, session ids, roles (1 customer), handoff, sentiment,
          satisfaction
    dami  token ids, roles (0 customer!), tf, part of speech, sentiment, lengths, dialogue lengths,
          labels
"""

from __future__ import annotations

import io
import math
import re
import struct
from pathlib import Path
from pickle import BUILD, BYTEARRAY8, UnpicklingError, _Unpickler
from typing import Any

import numpy as np

from qr_cli.errors import DataError
from qr_cli.handoff.mhch import AGENT, CUSTOMER, Dialogue, Utterance

LIMIT = 2 * 2**30  # bytes of a file
OBJECTS, TF_TURNS, DAMI_TOKENS, DEPTH = 8, 30, 50, 12
_KIND = re.compile(r"[iufb]\d{1,2}")
_HINT = "only arrays, lists, text and numbers are read; nothing was run"
_FAULTS = (
    UnpicklingError, EOFError, ValueError, TypeError, AttributeError, IndexError, KeyError,
    ImportError, OverflowError, MemoryError, RecursionError, struct.error, AssertionError,
    SystemError, NotImplementedError, re.error,
)  # fmt: skip  # what a damaged pickle raises


class _Dtype:
    """Stands for ``numpy.dtype``."""

    def __init__(self, code: Any = "", *rest: Any) -> None:
        self.code, self.order = str(code), "|"

    def __setstate__(self, state: Any) -> None:
        self.order = str(state[1])


class _Array:
    """Stands for ``numpy.ndarray``: its state, not yet believed."""

    state: Any = None

    def __init__(self, *rest: Any) -> None: ...

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self, path: Path) -> np.ndarray:
        """Return the array, if it is one of numbers.

        Raises:
            DataError: it is not.
        """
        _, shape, kind, fortran, data = self.state
        if not isinstance(kind, _Dtype) or not _KIND.fullmatch(kind.code):
            code = kind.code if isinstance(kind, _Dtype) else type(kind).__name__
            raise DataError(f"{path} holds an array of {code!r:.20}, which is not read", hint=_HINT)
        data = data.encode("latin1") if isinstance(data, str) else data
        dtype = np.dtype(("<" if kind.order not in "<>" else kind.order) + kind.code)
        size = math.prod(shape) * dtype.itemsize
        if not isinstance(data, bytes) or size != len(data) or any(n < 0 for n in shape):
            raise DataError(f"{path} holds an array whose size is not that of its shape {shape}")
        found = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
        return found.astype(dtype.newbyteorder("="))


def _reconstruct(*rest: Any) -> _Array:
    return _Array()


class Shell:
    """What a pickled vocabulary becomes: its attributes, and none of its code."""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.__dict__.update({k: v for k, v in state.items() if isinstance(k, str)})


def _encode(text: str, *rest: Any) -> bytes:
    """Stand for ``_codecs.encode``, with which Python 3 writes bytes in the old protocol."""
    return text.encode("latin1")


ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
}


_Base: Any = _Unpickler  # Python's own, in Python: its steps can be replaced


class Reader(_Base):
    """The whitelisting unpickler. `vocabulary` also allows the class of a vocabulary."""

    dispatch: dict[int, Any] = dict(_Base.dispatch)

    def __init__(self, file: Any, *, vocabulary: bool = False) -> None:
        super().__init__(file, encoding="latin1")
        self._vocabulary = vocabulary

    def find_class(self, module: str, name: str) -> Any:
        """Return one of our shells, or refuse."""
        if self._vocabulary and (module, name) == ("vocab", "Vocab"):
            return Shell
        if (module, name) not in ALLOWED:
            raise DataError(f"the pickle names {module}.{name}, which is not read", hint=_HINT)
        return ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """Refuse."""
        raise DataError(f"the pickle names the persistent object {pid!r:.40}", hint=_HINT)

    def get_extension(self, code: int) -> Any:
        """Refuse: an extension code is a name from elsewhere."""
        raise DataError(f"the pickle uses the extension code {code}", hint=_HINT)

    def build(self) -> None:
        """Give a state to a shell, and to nothing else."""
        if not isinstance(self.stack[-2], _Array | _Dtype | Shell):
            raise DataError("the pickle sets the state of something that has none", hint=_HINT)
        self.load_build()

    dispatch[BUILD[0]] = build

    def bytearray8(self) -> None:
        """Refuse: the size it names is allocated before anything is read."""
        raise DataError("the pickle holds a bytearray", hint=_HINT)

    dispatch[BYTEARRAY8[0]] = bytearray8


def load_pickles(path: Path, count: int | None, *, vocabulary: bool = False) -> list[Any]:
    """Return the objects of a file of successive pickles.

    Args:
        path: the file.
        count: how many there must be; None: one.
        vocabulary: whether a vocabulary is expected.

    Raises:
        DataError: it names something that is not read, is damaged, or holds other kinds of values.
    """
    try:
        size = path.stat().st_size
        if size > LIMIT:
            raise DataError(f"{path} has {size:,} bytes; at most {LIMIT:,} are read")
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    file, found = io.BytesIO(content), []
    try:
        for _ in range(count or 1):
            found.append(Reader(file, vocabulary=vocabulary).load())
    except DataError:
        raise
    except _FAULTS as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise DataError(f"{path} is no whole pickle: {reason}") from error
    try:
        return [_plain(value, path, DEPTH) for value in found]
    except _FAULTS as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} holds a damaged array: {error}") from error


def sniff(path: Path) -> str:
    """Return "mhch" or "dami" for a file of pickles.

    Raises:
        DataError: it is neither.
    """
    objects = load_pickles(path, OBJECTS)
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
    ids, lengths, _, names, roles, handoff, sentiment, satisfaction = load_pickles(path, OBJECTS)
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
    ids, roles, tf, pos, _, lengths, _, labels = load_pickles(path, OBJECTS)
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
    (found,) = load_pickles(path, None, vocabulary=True)
    tokens, vectors = getattr(found, "id2token", None), getattr(found, "embeddings", None)
    if not isinstance(tokens, dict | list) or not isinstance(vectors, np.ndarray):
        raise DataError(f"{path} holds no vocabulary (id2token and embeddings)")
    if vectors.ndim != 2 or len(vectors) != len(tokens):
        raise DataError(f"{path}: {len(tokens)} tokens but vectors of shape {vectors.shape}")
    try:
        ordered = [tokens[i] for i in range(len(tokens))]
    except (KeyError, IndexError) as error:
        raise DataError(f"{path}: id {error} has no token") from error
    return ordered, vectors


def _plain(value: Any, path: Path, depth: int) -> Any:
    """Return a value with arrays in the places of their shells; other kinds are refused."""
    if not depth:
        raise DataError(f"{path} is nested too deeply, or in itself")
    if isinstance(value, _Array):
        return value.array(path)
    if isinstance(value, str | int | float | type(None)):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item, path, depth - 1) for item in value]
    if isinstance(value, dict):
        return {k: _plain(v, path, depth - 1) for k, v in value.items() if isinstance(k, str | int)}
    if isinstance(value, Shell):
        for name, item in list(vars(value).items()):
            setattr(value, name, _plain(item, path, depth - 1))
        return value
    raise DataError(f"{path} holds a {type(value).__name__}, which is not read", hint=_HINT)


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
