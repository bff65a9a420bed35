"""`qr data surd build`: from pages of a model listing, pictures and captions to a SURD folder.

A page is ``{items: [{modelVersions: [{images: [{url, nsfw, meta: {prompt, negativePrompt}}]}]}]}``.
An image counts if it has a prompt; its name is the third-last part of its address, and the first of
equal names is kept, as in the authors' collection. Nothing is fetched.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from qr_cli.engine.damage import damaged
from qr_cli.engine.files import write_text
from qr_cli.engine.folder import appearing, usable
from qr_cli.errors import DataError, UsageError
from qr_cli.generate.clean import clean
from qr_cli.generate.surd import METADATA, PICTURES, dump

WITHHELD = "[withheld]"


@dataclass
class Collected:
    """Prompts of a listing, first of equal names, and how many of what there was."""

    counts: dict[str, int]
    items: list[dict[str, str]] = field(
        default_factory=list
    )  # url prompt negativePrompt name level


def collect(pages: Sequence[str | Path]) -> Collected:
    """Return the prompts of listing pages.

    Raises:
        DataError: a page is none.
    """
    counts = Counter[str]()
    names = Counter[str]()
    found = Collected({})
    for page in pages:
        counts["pages"] += 1
        with damaged(page):
            for image in _images(Path(page), counts):
                counts["total_items"] += 1
                meta = image.get("meta") or {}
                if not isinstance(meta.get("prompt"), str):
                    continue
                counts["image_items"] += 1
                name = str(image["url"]).split("/")[-3]
                names[name] += 1
                if names[name] == 1:
                    found.items.append({
                        "url": image["url"],
                        "prompt": meta["prompt"],
                        "negativePrompt": meta.get("negativePrompt") or "",
                        "image_name": name,
                        "level": str(image.get("nsfw")),
                    })  # fmt: skip
    counts["repetition_items"] = sum(count > 1 for count in names.values())
    counts["unique_items"] = len(found.items)
    keys = ("pages", "models", "versions", "total_items", "image_items", "repetition_items")
    found.counts = {key: counts[key] for key in (*keys, "unique_items")}
    return found


def build(
    pages: Sequence[str | Path],
    out: str,
    *,
    images: str | None = None,
    captions: str | None = None,
    captioner: str | None = None,
    clip: str | None = None,
    min_clip: float | None = None,
    levels: Sequence[str] = ("None",),
    cleaned: bool = True,
    urls: str | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write a SURD folder and return its record.

    Args:
        pages: listing pages.
        out: the folder.
        images: a folder of pictures, named as the listing names them; without it only metadata is
            written, which is enough for the align phase.
        captions: JSON lines {image_name or file_name, text}.
        captioner: a local folder of a BLIP captioning model, for pictures without a caption.
        clip: a local folder of a CLIP model.
        min_clip: keep rows with at least this CLIPScore of picture and narrative.
        levels: levels of the listing that are kept.
        cleaned: whether prompts are cleaned of weights and tags.
        urls: a file for names and addresses of pictures that are missing.
        overwrite: replace `out`.

    Raises:
        UsageError: options that do not go together.
        DataError: a file cannot be used, or nothing is left.
    """
    if not pages:
        raise UsageError("no pages are given", hint="qr data surd build meta-*.json --out SURD")
    if not captions and not captioner:
        raise UsageError(
            "--captions: narratives are needed", hint="--captions FILE, or --captioner FOLDER"
        )
    if (captioner or min_clip is not None) and not images:
        raise UsageError("--images: needed to caption pictures and to score them")
    if (min_clip is None) != (clip is None):
        raise UsageError("--min-clip and --clip go together")
    folder = usable(out, overwrite=overwrite)
    found = collect(pages)
    record: dict[str, Any] = {"event": "build", **found.counts}
    items = [item for item in found.items if item["prompt"] != WITHHELD]
    record["withheld"] = len(found.items) - len(items)
    kept = [item for item in items if item["level"] in levels]
    record["level_dropped"] = len(items) - len(kept)
    files = _pictures(Path(images)) if images else None
    if files is not None:
        missing = [item for item in kept if item["image_name"] not in files]
        kept = [item for item in kept if item["image_name"] in files]
        record["picture_missing"] = len(missing)
        if urls:
            lines = (f"{item['image_name']}\t{item['url']}\n" for item in missing)
            write_text(Path(urls), "".join(lines))
    else:
        record["picture_missing"] = None
    texts = _captions(Path(captions)) if captions else {}
    if captioner and files is not None:
        from qr_cli.generate.captions import caption

        wanted = [item["image_name"] for item in kept if item["image_name"] not in texts]
        texts |= zip(wanted, caption(captioner, [files[name] for name in wanted]), strict=True)
    with_text = [item for item in kept if item["image_name"] in texts]
    record["text_missing"] = len(kept) - len(with_text)
    rows = [_row(item, texts[item["image_name"]], files, cleaned) for item in with_text]
    rows = [row for row in rows if row["prompt"]]
    record["clip_dropped"] = 0
    if clip is not None and min_clip is not None and files is not None:
        from qr_cli.generate.captions import scores

        pictures = [files[str(row["id"])] for row in rows]
        values = scores(clip, pictures, [row["text"] for row in rows])
        good = [row for row, value in zip(rows, values, strict=True) if value >= min_clip]
        record["clip_dropped"], rows = len(rows) - len(good), good
    if not rows:
        raise DataError(
            "no row is left: " + ", ".join(f"{k} {v}" for k, v in record.items() if k != "event")
        )
    with appearing(folder) as hidden:
        (hidden / "train").mkdir()
        for row in rows:
            if files is not None:
                shutil.copy(files[row["id"]], hidden / "train" / row["file_name"])
        (hidden / "train" / METADATA).write_text(dump(rows), encoding="utf-8")
    return record | {"rows": len(rows), "out": str(folder)}


def build_world(
    world: str, out: str, *, pages: Sequence[str] = (), overwrite: bool = False
) -> dict[str, Any]:
    """Write the training rows of the tiny world with painted digits; return the record.

    Raises:
        UsageError: there is no such world, or pages are given too.
    """
    if world != "tiny":
        raise UsageError(f"--world: {world!r} is unknown", hint="--world tiny")
    if pages:
        raise UsageError("--world makes its own rows: give no pages beside it")
    folder = usable(out, overwrite=overwrite)
    rows = write_tiny(folder)
    return {"event": "build", "world": "tiny", "rows": rows, "out": str(folder)}


def write_tiny(folder: Path) -> int:
    """Write the SURD folder of the tiny world; return its rows."""
    from qr_cli.generate.digits import picture
    from qr_cli.generate.world import surd_rows

    rows, draw = surd_rows("train"), torch.Generator().manual_seed(0)
    with appearing(folder) as hidden:
        (hidden / "train").mkdir()
        for row in rows:
            pixels = picture(row["label"]["digit"], row["label"]["tint"], draw=draw)
            Image.fromarray(pixels).save(hidden / "train" / row["file_name"])
        (hidden / "train" / METADATA).write_text(dump(rows), encoding="utf-8")
    return len(rows)


def clean_folder(source: str, out: str, *, overwrite: bool = False) -> dict[str, Any]:
    """Copy a SURD folder with cleaned prompts; return how many changed."""
    from qr_cli.generate.surd import read_surd

    folder = usable(out, overwrite=overwrite)
    rows = read_surd(source, pictures=False)
    changed = 0
    with appearing(folder) as hidden:
        (hidden / "train").mkdir()
        written = []
        for row in rows:
            prompts = [clean(prompt) or prompt for prompt in row.prompts]
            changed += prompts != list(row.prompts)
            values = row.values | {"prompt": prompts[0] if len(prompts) == 1 else prompts}
            if row.picture is not None:
                values["file_name"] = row.picture.name
                shutil.copy(row.picture, hidden / "train" / row.picture.name)
            written.append(values)
        (hidden / "train" / METADATA).write_text(dump(written), encoding="utf-8")
    return {"event": "clean", "rows": len(rows), "changed": changed, "out": str(folder)}


def _images(path: Path, counts: Counter[str]) -> Iterator[Mapping[str, Any]]:
    """Yield the images of a page; count the models and versions on the way."""
    for model in _page(path):
        counts["models"] += 1
        for version in model.get("modelVersions") or ():
            counts["versions"] += 1
            yield from version.get("images") or ()


def _page(path: Path) -> Iterable[Mapping[str, Any]]:
    with damaged(path):
        page = json.loads(path.read_text("utf-8"))
    items = page.get("items") if isinstance(page, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise DataError(f"{path} is no page of a listing: it holds no items")
    return items


def _pictures(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"--images: {folder}: no such folder")
    return {p.stem: p for p in sorted(folder.iterdir()) if p.suffix.lower() in PICTURES}


def _captions(file: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    with damaged(f"--captions: {file}"):
        lines = file.read_text("utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line) if line.strip() else {}
            name = row.get("image_name") or Path(row.get("file_name", "")).stem
            text = row.get("text", "")
        except (ValueError, AttributeError, TypeError) as error:
            raise DataError(f"--captions: {file}, line {number}: no JSON object") from error
        if name and isinstance(text, str) and text.strip():
            texts.setdefault(name, text.strip())
    return texts


def _row(
    item: Mapping[str, str], text: str, files: Mapping[str, Path] | None, cleaned: bool
) -> dict[str, Any]:
    name = item["image_name"]
    row: dict[str, Any] = {
        "file_name": files[name].name if files is not None else f"{name}.png",
        "text": text,
        "prompt": clean(item["prompt"]) if cleaned else item["prompt"],
        "id": name,
    }
    return row | ({"negative": item["negativePrompt"]} if item["negativePrompt"] else {})
