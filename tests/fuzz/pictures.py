"""Pictures: diagrams of geometry, image folders and packs of attention, those of training."""

from __future__ import annotations

import io
import json

import numpy as np
from fuzz.readers import Reader
from PIL import Image

from qr_cli.attention.data import read
from qr_cli.generate.pictures import load_picture
from qr_cli.generate.sidecar import matches
from qr_cli.geo.diagrams import read_diagram

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype=np.uint8)


def drawn(path, mode="RGB", **options):
    Image.fromarray(PIXELS).convert(mode).save(path, **options)
    return path


def make_diagrams(folder):
    kinds = {"a.png": "RGB", "b.png": "LA", "c.png": "P", "d.gif": "P", "e.jpg": "RGB",
             "f.bmp": "L", "g.tif": "RGB", "h.webp": "RGB"}  # fmt: skip
    return [drawn(folder / name, mode) for name, mode in kinds.items()]


def make_images(folder):
    targets = []
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            home = folder / "set" / split / name
            home.mkdir(parents=True, exist_ok=True)
            targets += [drawn(home / "a.png"), drawn(home / "b.jpg")]
    return targets


def read_images(path):
    read(f"folder:{path.parents[2]}", image_size=8)


def make_packs(folder):
    content = [io.BytesIO(), io.BytesIO()]
    for one in content:
        Image.fromarray(PIXELS[:8, :8]).save(one, "JPEG")
    parts = [one.getvalue() for one in content]
    offset = np.cumsum([0, *map(len, parts)])
    for split in ("train", "test"):
        np.savez(
            folder / f"{split}.npz", data=np.frombuffer(b"".join(parts), np.uint8), offset=offset,
            y=np.array([0, 1]), classes=np.array(["cat", "dog"]),
        )  # fmt: skip
    return [folder / "train.npz", folder / "test.npz"]


def make_sidecars(folder):
    drawn(folder / "a.png")
    (folder / "a.json").write_text(json.dumps({"prompt": "a", "flagged": False}))
    return [folder / "a.png", folder / "a.json"]


diagrams = Reader(make_diagrams, read_diagram)
images = Reader(make_images, read_images)
packs = Reader(make_packs, lambda path: read(f"npz:{path.parent}", image_size=8))
sidecars = Reader(make_sidecars, lambda path: matches(path.with_suffix(".png"), {"prompt": "a"}))
training_pictures = Reader(make_diagrams, lambda path: load_picture(path, 8))
