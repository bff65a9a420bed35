"""From text to token ids: tokenisers, and the vocabulary of a model.

Before any tokeniser URLs become ``<url>``, e-mail addresses ``<email>`` and runs of five or more
digits ``<num>``: a vocabulary then holds no account number.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from qr_cli.engine.damage import damaged
from qr_cli.errors import DataError, MissingExtra, WeightsError
from qr_cli.handoff.mhch import Dialogue

BLANK, UNKNOWN = 0, 1
SPECIAL = ("<blank>", "<unk>")
CJK_SHARE = 0.2  # of letters, above which "auto" takes jieba
CHARACTERS = 100_000  # of a text that are looked at
Name = Literal["auto", "ids", "english", "jieba", "char", "whitespace"]
Split = Callable[[str], list[str]]

_MASKS = (
    (re.compile(r"(?:https?://|www\.)[^\s\u3000-\u9fff]+", re.IGNORECASE), "<url>"),
    (re.compile(r"[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64})+"), "<email>"),
    (re.compile(r"\d{5,}"), "<num>"),
)
_MARK = r"<(?:url|email|num)>"
_ENGLISH = re.compile(rf"{_MARK}|[\w']+|[^\w\s]")
_CHAR = re.compile(rf"{_MARK}|[^\W\d_\u3400-\u9fff\uf900-\ufaff]+|\d+|\S")
_CJK = re.compile(r"[\u3400-\u9fff\uf900-\ufaff\u3040-\u30ff]")


def mask(text: str) -> str:
    """Replace what identifies people by a mark."""
    for pattern, mark in _MASKS:
        text = pattern.sub(mark, text)
    return text


def english(text: str) -> list[str]:
    """Split into words and punctuation: NFKC, lower case."""
    return _ENGLISH.findall(mask(unicodedata.normalize("NFKC", text).lower()))


def characters(text: str) -> list[str]:
    """Split Chinese into characters, other letters into words."""
    return _CHAR.findall(mask(unicodedata.normalize("NFKC", text).lower()))


def whitespace(text: str) -> list[str]:
    """Split at white space."""
    return mask(text).split()


def jieba_words(user_dict: str | None = None) -> Split:
    """Return jieba's segmentation, which takes about a second to load.

    Raises:
        MissingExtra: jieba is not installed.
        DataError: the user dictionary cannot be read.
    """
    try:
        import jieba
    except ModuleNotFoundError as error:
        missing = MissingExtra("jieba", "handoff")
        missing.hint = f"{missing.hint}, or --tokenizer char, which needs nothing"
        raise missing from error
    jieba.setLogLevel("WARNING")
    segment = jieba.Tokenizer()
    segment.tmp_dir = _own_folder()
    if user_dict is not None:
        with damaged(f"--user-dict: {user_dict}"):
            segment.load_userdict(user_dict)
    marks = re.compile(f"({_MARK})")

    def split(text: str) -> list[str]:
        words: list[str] = []
        for part in marks.split(mask(unicodedata.normalize("NFKC", text).lower())):
            words += [part] if marks.fullmatch(part) else segment.cut(part, HMM=True)
        return [word for word in words if not word.isspace() and word]

    return split


def splitter(name: Name, user_dict: str | None = None) -> Split:
    """Return the function from text to tokens of a name ("ids" and "auto" have none)."""
    if name == "jieba":
        return jieba_words(user_dict)
    return {"english": english, "char": characters, "whitespace": whitespace}[name]


def choose(dialogues: Sequence[Dialogue]) -> Name:
    """Return what "auto" stands for: ids for tokens, jieba for Chinese, else english."""
    utterances = [u for d in dialogues for u in d.utterances]
    if utterances and utterances[0].tokens is not None:
        return "ids"
    letters = cjk = 0
    for utterance in utterances:
        text = (utterance.text or "")[:1000]
        cjk += len(_CJK.findall(text))
        letters += sum(c.isalpha() for c in text)
    return "jieba" if cjk > CJK_SHARE * max(1, letters) else "english"


class Vocabulary:
    """Tokens and their ids: 0 ``<blank>``, 1 ``<unk>``, then by falling count.

    Args:
        tokens: from id 2 on; words, or the opaque ids of a corpus.
        counts: how often each was seen in training, or empty.
    """

    def __init__(self, tokens: Sequence[Any], counts: Sequence[int] = ()) -> None:
        self.tokens, self.counts = list(tokens), list(counts)
        self.index = {token: number for number, token in enumerate(self.tokens, start=2)}

    def __len__(self) -> int:
        return len(self.tokens) + 2

    @classmethod
    def count(cls, sentences: Iterable[Sequence[Any]], min_count: int) -> Vocabulary:
        """Return the vocabulary of training sentences; ties are ordered by token."""
        seen: Counter[Any] = Counter()
        for sentence in sentences:
            seen.update(sentence)
        kept = [(t, n) for t, n in seen.items() if n >= min_count]
        kept.sort(key=lambda pair: (-pair[1], pair[0]))
        return cls([t for t, _ in kept], [n for _, n in kept])

    def ids(self, tokens: Sequence[Any], limit: int | None = None) -> list[int]:
        """Return ids, `<unk>` for what is unknown; a sentence without tokens is one `<unk>`."""
        index = self.index
        return [index.get(token, UNKNOWN) for token in tokens[:limit]] or [UNKNOWN]

    def words(self, ids: Sequence[int]) -> list[Any]:
        """Return the tokens of ids."""
        return [SPECIAL[i] if i < 2 else self.tokens[i - 2] for i in ids]

    def to_json(self) -> str:
        """Return vocab.json."""
        return json.dumps({"tokens": self.tokens, "counts": self.counts}, ensure_ascii=False)

    @classmethod
    def read(cls, path: Path) -> Vocabulary:
        """Read vocab.json.

        Raises:
            WeightsError: it is missing or damaged.
        """
        try:
            value = json.loads(path.read_text("utf-8"))
            tokens, counts = value["tokens"], value["counts"]
            if not isinstance(tokens, list) or not isinstance(counts, list):
                raise TypeError("tokens and counts must be lists")
            return cls(tokens, counts)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WeightsError(f"{path} is no vocabulary: {error}") from error


class Encoder:
    """Text or tokens of an utterance to ids, as one model was trained.

    Args:
        name: the tokeniser.
        vocabulary: of the model.
        max_tokens: tokens of an utterance that are kept.
        user_dict: for jieba.
    """

    def __init__(
        self, name: Name, vocabulary: Vocabulary, max_tokens: int, user_dict: str | None = None
    ) -> None:
        self.name, self.vocabulary, self.max_tokens = name, vocabulary, max_tokens
        self.user_dict = user_dict
        self._split: Split | None = None

    def split(self, text: str | None, tokens: Sequence[Any] | None) -> list[Any]:
        """Return the tokens of an utterance.

        Raises:
            DataError: text was given to a model of ids, or tokens to a model of text.
        """
        if self.name == "ids":
            if tokens is None:
                raise DataError("this model was trained on token ids; give tokens, not text")
            return list(tokens)
        if text is None:
            if tokens and isinstance(tokens[0], int):
                raise DataError("this model was trained on text; give text, not token ids")
            return list(tokens or [])
        if self._split is None:
            self._split = splitter(self.name, self.user_dict)
        return self._split(text[:CHARACTERS])

    def ids(self, text: str | None, tokens: Sequence[Any] | None) -> list[int]:
        """Return the ids of an utterance, at least one."""
        return self.vocabulary.ids(self.split(text, tokens), self.max_tokens)


def _own_folder() -> str:
    """Return a folder of our own for jieba's cache; the usual one is open to everybody."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = os.path.join(base, "qr", "jieba")
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except OSError:
        return tempfile.mkdtemp(prefix="qr-jieba-")
    return folder
