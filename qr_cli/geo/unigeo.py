"""The official UniGeo files, and those of its relatives, as JSON lines with diagrams.

Pickles are read through a whitelist (`engine.unpickle`); nothing in them runs. Sources: UniGeo
(Chen et al. 2022) calculation_*.pk and proving_*.pk, the JSON of its re-release, Inter-GPS folders.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from qr_cli.engine.damage import damaged
from qr_cli.engine.filenames import file_name
from qr_cli.engine.folder import appearing
from qr_cli.engine.pictures import decoded
from qr_cli.engine.unpickle import load_pickle
from qr_cli.errors import DataError, UsageError

Dialect = Literal["unigeo", "geoqa+", "intergps"]
SPLITS = ("train", "val", "test")
CATEGORIES = "sub_dataset_dict"
LETTERS = tuple("ABCD")  # of choices


def convert(
    files: Sequence[Path], out: Path, *, dialect: Dialect = "unigeo", overwrite: bool = False
) -> dict[str, Any]:
    """Write `{train,val,test}.jsonl`, `diagrams/ID.png` and `manifest.json`; return the manifest.

    Args:
        files: pickles, JSON files, or Inter-GPS folders.
        out: the folder to make; it appears whole.
        dialect: what the files are.
        overwrite: replace the folder.

    Raises:
        DataError: a file cannot be read, or is none of these.
        UsageError: the folder is there already.
    """
    if out.exists() and not overwrite:
        raise UsageError(f"--out: {out} is there already", hint="--overwrite, or another --out")
    missing = next((f for f in files if not f.exists()), None)
    if missing is not None:
        raise DataError(f"{missing}: no such file")
    categories = _categories(files)
    counts: dict[str, int] = {}
    with appearing(out) as part:
        (part / "diagrams").mkdir()
        for file in files:
            if file.stem == CATEGORIES:
                continue
            split = next((s for s in SPLITS if s in file.stem.split("_")), "train")
            with (part / f"{split}.jsonl").open("a", encoding="utf-8") as lines:
                for record, image in _records(file, dialect, categories):
                    if image is not None:
                        record["diagram"] = f"diagrams/{file_name(record['id'])}.png"
                        image.save(part / record["diagram"])
                    lines.write(json.dumps(record, ensure_ascii=False) + "\n")
                    key = f"{split} {record['task']}"
                    counts[key] = counts.get(key, 0) + 1
        manifest = {
            "dialect": dialect,
            "counts": counts,
            "sources": {f.name: _digest(f) for f in files},
        }
        (part / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")
    return manifest


def _digest(file: Path) -> str | None:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None


def _categories(files: Sequence[Path]) -> dict[str, str]:
    """Return the category of each id, where its file is among those given."""
    for file in files:
        if file.stem == CATEGORIES:
            held = load_pickle(file, kind="UniGeo")
            if isinstance(held, dict):
                return {str(key): str(value) for key, value in held.items()}
    return {}


def _records(
    file: Path, dialect: Dialect, categories: dict[str, str]
) -> Iterator[tuple[dict[str, Any], Image.Image | None]]:
    if file.is_dir():
        with damaged(file):
            problem = _intergps(file)
        yield problem
        return
    if file.suffix in (".pk", ".pkl", ".pickle"):
        content = load_pickle(file, kind="UniGeo" if dialect == "unigeo" else dialect)
    else:
        with damaged(file):
            content = json.loads(file.read_text("utf-8"))
    rows = list(content.values()) if isinstance(content, dict) else content
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{file}: holds no list of problems", hint="UniGeo/calculation_train.pk")
    for number, row in enumerate(rows):
        try:
            proving = "proving_sequence" in row or str(row.get("program", "")).startswith("R_")
            made = _proving(row, number) if proving else _calculation(row, number, categories)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{file}, problem {number}: cannot be read ({error!r})") from error
        yield made


def _calculation(
    row: dict[str, Any], number: int, categories: dict[str, str]
) -> tuple[dict[str, Any], Image.Image | None]:
    name = str(row.get("id", number))
    record = {
        "id": name,
        "task": "calculation",
        "slot_text": row.get("English_problem") or row["problem"],
        "numbers": [float(n) for n in row.get("numbers") or ()],
        "choices": [_number(c) for c in row.get("choice_nums") or row.get("choice_numbers") or ()]
        or None,
        "label": row.get("label"),
        "program": _text(row.get("manual_program") or row.get("program")),
        "category": categories.get(name) or row.get("problem_type") or row.get("p_type"),
        "diagram": None,
        "solution": row.get("answer"),
    }
    return record, _image(row.get("image"))


def _proving(row: dict[str, Any], number: int) -> tuple[dict[str, Any], Image.Image | None]:
    text = str(row.get("input_text") or row.get("problem") or row["question"])
    record = {
        "id": str(row.get("id", number)),
        "task": "proving",
        "text": text,
        "elements": None if "(Elements:" in text else row.get("elements"),
        "proof": _text(row.get("proving_sequence") or row.get("program")),
        "category": row.get("problem_type") or row.get("p_type"),
        "diagram": None,
    }
    return record, _image(row.get("img"), blue_first=True)


def _intergps(folder: Path) -> tuple[dict[str, Any], Image.Image | None]:
    """Return an Inter-GPS problem: its text, options, and the places of its points."""
    data = json.loads((folder / "data.json").read_text("utf-8"))
    form = json.loads((folder / "logic_form.json").read_text("utf-8"))
    picture = folder / "img_diagram.png"
    places = form.get("point_positions") or {}
    record = {
        "id": str(data.get("id", folder.name)),
        "task": "calculation",
        "text": data.get("compact_text") or data.get("problem_text"),
        "choices": data.get("choices"),
        "label": LETTERS.index(data["answer"]) if data.get("answer") in LETTERS else None,
        "category": (data.get("problem_type_goal") or [None])[0],
        "points": {name: list(place) for name, place in places.items()} or None,
        "y_down": True,
        "diagram": None,
    }
    return record, decoded(picture, "L") if picture.is_file() else None


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _text(value: Any) -> str | None:
    return None if value is None else value if isinstance(value, str) else " ".join(value)


def _image(pixels: Any, *, blue_first: bool = False) -> Image.Image | None:
    """Return pixels as a picture: grey, or three channels stored blue first."""
    if pixels is None:
        return None
    values = np.asarray(pixels, dtype=np.uint8)
    if values.ndim == 3 and blue_first:
        values = values[..., ::-1]
    return Image.fromarray(np.ascontiguousarray(values))
