"""What `qr data mhch` does: convert published corpora, and look at a file of dialogues."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qr_cli.errors import DataError, UsageError
from qr_cli.handoff.mhch import Dialogue, read_jsonl, write_jsonl
from qr_cli.handoff.readers import READERS

Record = dict[str, Any]
CUTS = (50, 30)  # turns that the published settings keep


def convert(source: str, out: str, *, kind: str = "auto", overwrite: bool = False) -> Record:
    """Write a corpus as JSON lines; a pickled vocabulary as vocab.json and embeddings.npy.

    Args:
        source: file or folder.
        out: the file to write, or for a vocabulary a folder.
        kind: the format, "auto", or "vocab".
        overwrite: replace what is there.

    Raises:
        UsageError: the format is unknown, or something is there already.
        DataError: the source cannot be used; nothing is written.
    """
    path, target = Path(source), Path(out)
    if not path.exists():
        raise DataError(f"{source}: no such file")
    if target.exists() and not overwrite and not target.is_dir():
        raise UsageError(f"{out} exists", hint="--overwrite replaces it")
    kind = sniff(path) if kind == "auto" else kind
    if kind == "vocab":
        return _vocabulary(path, target, overwrite)
    dialogues: list[Dialogue] = READERS.load(kind)(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    written = write_jsonl(target, dialogues)
    return {"event": "convert", "format": kind, "dialogues": written, "file": str(target)}


def sniff(path: Path) -> str:
    """Return the format of a file by what is in it.

    Raises:
        DataError: it is none that is known.
    """
    if path.is_dir():
        return "dbdc3"
    with path.open("rb") as file:
        head = file.read(4096)
    if head[:1] == b"\x80" or path.suffix in (".pkl", ".pickle"):
        from qr_cli.handoff.readers import pickles

        return "vocab" if b"Vocab" in head else pickles.sniff(path)
    text = head.decode("utf-8-sig", errors="replace").lstrip()
    if text.startswith("{"):
        return "cmhch" if '"session"' in text or '"sessionID"' in text else "dbdc3"
    if text[:1] in "123" and "\t" in text:
        return "ssa"
    raise DataError(f"{path} is of no known format", hint=f"--from {'|'.join(READERS)}")


def stats(source: str, *, against: str | None = None, label_base: str = "auto") -> Record:
    """Return counts of a file of dialogues.

    Args:
        source: JSON lines.
        against: another file, whose dialogues should not stand in this one.
        label_base: what sentiment and satisfaction start at.

    Raises:
        DataError: a file cannot be used.
    """
    dialogues = read_jsonl(source, label_base=label_base)  # type: ignore[arg-type]
    turns = np.array([len(d.utterances) for d in dialogues])
    sizes = np.array([_size(u) for d in dialogues for u in d.utterances])
    positives = Counter(u.role for d in dialogues for u in d.utterances if (u.handoff or 0) >= 0.5)
    keys = Counter(d.token_key() for d in dialogues)
    record: Record = {
        "event": "stats",
        "file": source,
        "dialogues": len(dialogues),
        "utterances": int(turns.sum()),
        "customer_utterances": sum(u.is_customer for d in dialogues for u in d.utterances),
        "labelled": sum(u.handoff is not None for d in dialogues for u in d.utterances),
        "transfers_customer": positives["customer"],
        "transfers_agent": positives["agent"],
        "dialogues_without": sum(_without(d) for d in dialogues),
        **_quantiles("turns", turns),
        **_quantiles("tokens", sizes),
    }
    for cut in CUTS:
        record[f"transfers_after_{cut}"] = sum(
            (u.handoff or 0) >= 0.5 for d in dialogues for u in d.utterances[cut:]
        )
    record["duplicates"] = sum(n - 1 for n in keys.values())
    for name, found in (
        ("sentiment", [u.sentiment for d in dialogues for u in d.utterances]),
        ("satisfaction", [d.satisfaction for d in dialogues]),
    ):
        counts = Counter(v for v in found if v is not None)
        record[name] = [counts[v] for v in (0, 1, 2)] if counts else None
    if against is not None:
        other = read_jsonl(against, label_base=label_base)  # type: ignore[arg-type]
        seen = {d.token_key() for d in other}
        record["against"] = against
        record["shared"] = [d.session_id for d in dialogues if d.token_key() in seen]
    return record


def _vocabulary(path: Path, target: Path, overwrite: bool) -> Record:
    from qr_cli.engine.files import whole, write_text
    from qr_cli.handoff.readers.pickles import read_vocabulary

    tokens, vectors = read_vocabulary(path)
    files = target / "vocab.json", target / "embeddings.npy"
    if any(f.exists() for f in files) and not overwrite:
        raise UsageError(f"{target} holds a vocabulary", hint="--overwrite replaces it")
    target.mkdir(parents=True, exist_ok=True)
    with whole(files[1]) as hidden:
        np.save(hidden, vectors.astype(np.float32))
    write_text(files[0], json.dumps({"tokens": tokens[2:], "counts": []}, ensure_ascii=False))
    return {"event": "convert", "format": "vocab", "tokens": len(tokens), "file": str(files[0])}


def _size(utterance: Any) -> int:
    if utterance.tokens is not None:
        return len(utterance.tokens)
    return len((utterance.text or "").split())


def _without(dialogue: Dialogue) -> bool:
    return not any((u.handoff or 0) >= 0.5 for u in dialogue.utterances)


def _quantiles(name: str, values: np.ndarray) -> Record:
    p50, p95 = np.quantile(values, [0.5, 0.95])
    return {f"{name}_p50": float(p50), f"{name}_p95": float(p95), f"{name}_max": int(values.max())}


def rows(record: Record) -> Sequence[tuple[str, str]]:
    """Return a record as names and values for people."""
    return [
        (key.replace("_", " "), "-" if value is None else _plain(value))
        for key, value in record.items()
        if key != "event"
    ]


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)
