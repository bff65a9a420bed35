"""`qr data surd check`: what a SURD folder holds, what is wrong with it, and what would be cut."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

from qr_cli.errors import DataError
from qr_cli.generate.surd import PICTURES, Row, metadata_file, scan

Record = dict[str, Any]
_KINDS = ("missing_pictures", "undecodable", "without_extension", "duplicate_names", "empty_text",
          "empty_prompt", "unreadable_lines")  # fmt: skip


def survey(path: str | Path, *, base: str | None = None, teacher: str | None = None) -> Record:
    """Return rows, splits, faults and lengths.

    Args:
        path: a SURD folder or metadata.jsonl; pictures are looked at where any stand beside it.
        base: a diffusers folder whose tokenizer tells what is too long.
        teacher: vectors that should know every narrative.

    Raises:
        DataError: there is no metadata, or no vectors.
    """
    file = metadata_file(path)
    alone = not any(p.suffix.lower() in PICTURES for p in file.parent.iterdir())
    rows, faults = scan(file, pictures=not alone, decode=not alone)
    record: Record = {
        "event": "check",
        "rows": len(rows),
        "splits": dict(sorted(Counter(str(row.split or "none") for row in rows).items())),
        **{kind: faults.counts[kind] for kind in _KINDS},
    }
    if alone:
        record |= {"missing_pictures": None, "undecodable": None}
    record |= _lengths(rows, base)
    record["vectors_missing"] = None if teacher is None else _missing(rows, teacher)
    record["faults"] = faults.said[:5]
    record["ok"] = bool(rows) and not faults.said and not record["vectors_missing"]
    return record


def require(record: Record) -> None:
    """Raise `DataError` unless all is well."""
    if record["ok"]:
        return
    said = [f"{record[kind]} {kind.replace('_', ' ')}" for kind in _KINDS if record[kind]]
    if record["vectors_missing"]:
        said.append(f"{record['vectors_missing']} vectors missing")
    raise DataError(
        f"not ready to train on: {', '.join(said) or 'no rows'}",
        hint="; ".join(record["faults"]) or "qr data surd encode",
    )


def _lengths(rows: list[Row], base: str | None) -> Record:
    """Return median words, and how many texts a base's tokenizer would cut."""
    found: Record = {"truncated_text": None, "truncated_prompt": None}
    tokenizer = None
    if base is not None:
        from qr_cli.generate.parts import load_parts

        (tokenizer,) = load_parts(base, "tokenizer")
    for name in ("text", "prompt"):
        said = [text for row in rows for text in getattr(row, f"{name}s")]
        found[f"words_{name}_p50"] = median(len(s.split()) for s in said) if said else None
        if tokenizer is not None and said:
            from qr_cli.generate.encode import tokenize

            lengths = tokenize(tokenizer, said).lengths
            found[f"truncated_{name}"] = int((lengths > tokenizer.model_max_length).sum())
    return found


def _missing(rows: list[Row], teacher: str) -> int:
    from qr_cli.generate.teacher import read_vectors

    vectors = read_vectors(teacher)
    if vectors is None:
        raise DataError(f"--teacher: {teacher} is no file or folder of vectors")
    known = set(vectors.texts)
    return len({text for row in rows for text in row.texts} - known)
