"""SURD: narrative and keyword prompts for one picture, as the authors' training reads them.

    SURD/train/NAME.png  SURD/train/metadata.jsonl
    {"file_name": "NAME.png", "text": "a sentence", "prompt": "key, words", ...}

`text` and `prompt` may be lists; training draws one each time. Further keys are kept; ours are
`split`, `category`, `label`, `id`. Without a row of split "val", those whose sha256(text) modulo 20
is 0 are held out.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qr_cli.engine.damage import damaged
from qr_cli.engine.pictures import NO_PICTURE, opened
from qr_cli.errors import DataError

log = logging.getLogger(__name__)

METADATA = "metadata.jsonl"
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_HELD_OUT = 20  # one row in so many


@dataclass(frozen=True)
class Row:
    """One picture and what is said of it.

    Attributes:
        texts: narratives.
        prompts: keyword prompts.
        picture: the file; None where there is none.
        values: all that the line holds.
    """

    texts: tuple[str, ...]
    prompts: tuple[str, ...]
    picture: Path | None
    values: dict[str, Any]

    @property
    def label(self) -> dict[str, Any] | None:
        """Return the label, where the row has one."""
        found = self.values.get("label")
        return found if isinstance(found, dict) else None

    @property
    def split(self) -> str | None:
        """Return the split's name, where the row says it."""
        found = self.values.get("split")
        return "val" if found == "validation" else found


@dataclass
class Faults:
    """What is wrong with rows: sentences, and how many of each kind."""

    said: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str, sentence: str) -> None:
        """Note one."""
        self.counts[kind] += 1
        self.said.append(sentence)

    def sentence(self, path: Path) -> str:
        """Return the first five and how many there are."""
        more = f"; and {len(self.said) - 5} more" if len(self.said) > 5 else ""
        rows = "row" if len(self.said) == 1 else "rows"
        return f"{path}: {len(self.said)} {rows} cannot be used: {'; '.join(self.said[:5])}{more}"


def read_surd(path: str | Path, *, pictures: bool, skip_missing: bool = False) -> list[Row]:
    """Return the rows of a SURD folder, of its `train` folder, or of a metadata.jsonl.

    Args:
        path: where they are.
        pictures: whether a row without a readable picture is a fault.
        skip_missing: leave rows with faults out, and say how many, instead of refusing them all.

    Raises:
        DataError: there are none, or rows have faults.
    """
    file = metadata_file(path)
    rows, faults = scan(file, pictures=pictures)
    if faults.said and not skip_missing:
        raise DataError(faults.sentence(file), hint="qr data surd check, or --skip-missing")
    if faults.said:
        log.warning("%s", faults.sentence(file).replace("cannot be used", "are left out"))
    if not rows:
        raise DataError(f"{file} holds no rows")
    return rows


def metadata_file(path: str | Path) -> Path:
    """Return the metadata.jsonl that `path` stands for.

    Raises:
        DataError: there is none.
    """
    path = Path(path)
    for file in (path, path / METADATA, path / "train" / METADATA):
        if file.is_file():
            return file
    raise DataError(f"{path} holds no {METADATA}", hint="qr data surd build --world tiny --out DIR")


def scan(file: Path, *, pictures: bool, decode: bool = False) -> tuple[list[Row], Faults]:
    """Return the usable rows of a metadata.jsonl and what is wrong with the others."""
    faults, rows, seen = Faults(), [], set[str]()
    bare = 0
    for number, values in _lines(file, faults):
        texts, prompts = _strings(values.get("text")), _strings(values.get("prompt"))
        name = values.get("file_name")
        if not texts or not prompts:
            kind = "text" if not texts else "prompt"
            faults.add(f"empty_{kind}", f"line {number}: no {kind}")
            continue
        if isinstance(name, str) and name in seen:
            faults.add("duplicate_names", f"line {number}: {name} again")
            continue
        picture = _picture(file.parent, name)
        if picture is not None and picture.name != Path(str(name)).name:
            bare += 1
        if pictures and picture is None:
            faults.add("missing_pictures", f"line {number}: no picture {name}")
            continue
        if decode and picture is not None and not _decodes(picture):
            faults.add("undecodable", f"line {number}: {picture.name} is no picture")
            continue
        seen.add(str(name))
        rows.append(Row(texts, prompts, picture, values))
    if bare:
        faults.counts["without_extension"] = bare
        log.warning("%s: %d file names without extension were resolved", file, bare)
    return rows, faults


def split_rows(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Return training and validation rows."""
    known = [row for row in rows if row.split in (None, "train", "val")]
    if any(row.split == "val" for row in known):
        return (
            [row for row in known if row.split != "val"],
            [row for row in known if row.split == "val"],
        )
    held = [_is_held_out(row) for row in known]
    return (
        [row for row, out in zip(known, held, strict=True) if not out],
        [row for row, out in zip(known, held, strict=True) if out],
    )


def dump(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows as the text of a metadata.jsonl."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _lines(file: Path, faults: Faults) -> Iterator[tuple[int, dict[str, Any]]]:
    with damaged(file):
        text = file.read_text("utf-8-sig")
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            values = None
        if isinstance(values, dict):
            yield number, values
        else:
            faults.add("unreadable_lines", f"line {number}: no JSON object")


def _strings(value: Any) -> tuple[str, ...]:
    """Return one string or several; none if any is empty or no string."""
    listed = value if isinstance(value, list) else [value]
    good = all(isinstance(item, str) and item.strip() for item in listed)
    return tuple(listed) if listed and good else ()


def _picture(folder: Path, name: Any) -> Path | None:
    """Return the file of a name; one without extension is looked for with the usual ones."""
    if not isinstance(name, str) or not name:
        return None
    path = folder / name
    if path.is_file():
        return path
    found = (folder / f"{name}{suffix}" for suffix in PICTURES)
    return next((path for path in found if path.is_file()), None)


def _decodes(path: Path) -> bool:
    try:
        with opened(path) as image:
            image.load()
    except NO_PICTURE:
        return False
    return True


def _is_held_out(row: Row) -> bool:
    digest = hashlib.sha256(row.texts[0].encode("utf-8")).hexdigest()
    return int(digest, 16) % _HELD_OUT == 0
