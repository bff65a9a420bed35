"""What is computed once and read many times: text embeddings and VAE latents.

    text-<key>/     shards of 1,024 distinct strings: embeddings (n, T, d) and end positions (n)
    latents-<key>/  shards of 1,024 pictures: mean (n, C, h, w) and log-variance
    teacher-<key>/  vectors of a language model (see `teacher`)

A key is the sha256 of all that the content depends on, so that nothing is ever out of date. A
folder is written beside its place and renamed when its manifest is in it; of two processes that
fill the same one, the first wins.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import torch
from safetensors import safe_open
from torch import Tensor

from qr_cli.engine.files import flush, sibling
from qr_cli.engine.tensors import save_tensors
from qr_cli.errors import EnvironmentFault
from qr_cli.generate.encode import encode_texts, tokenize
from qr_cli.generate.fingerprints import text_fingerprint

log = logging.getLogger(__name__)

SHARD = 1024
MANIFEST = "manifest.json"
_BYTES = {"float32": 4, "float16": 2}
_BATCH = 64


def cache_root(given: str | None) -> Path:
    """Return the folder of all caches: the given one, or the user's."""
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "qr" / "generate"


def key_of(*parts: Any) -> str:
    """Return a short digest of JSON-able values."""
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:24]


@contextmanager
def filling(folder: Path, manifest: Mapping[str, Any]) -> Iterator[Path]:
    """Yield a hidden folder that becomes `folder`, unless another process was faster."""
    hidden = sibling(folder)
    try:
        hidden.mkdir(parents=True)
        yield hidden
        (hidden / MANIFEST).write_text(json.dumps(dict(manifest), indent=1) + "\n", "utf-8")
        for path in [*hidden.iterdir(), hidden]:
            flush(path)
        if not (folder / MANIFEST).is_file():
            os.replace(hidden, folder)
    except OSError as error:
        if not (folder / MANIFEST).is_file():
            raise EnvironmentFault(
                f"cannot write the cache {folder}: {error.strerror or error}", hint="--cache FOLDER"
            ) from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


class Store:
    """Rows of a filled folder, ``store[ids] -> (len(ids), ...)`` in float32.

    Read into memory, or from the mapped files where they are more than a quarter of what is free.
    """

    def __init__(self, folder: Path, name: str) -> None:
        files = sorted(folder.glob("shard-*.safetensors"))
        size = sum(file.stat().st_size for file in files)
        self._mapped = size > psutil.virtual_memory().available / 4
        if self._mapped:
            self._shards = [safe_open(file, "pt").get_slice(name) for file in files]
            return
        self._rows = _read(files, name)

    def __getitem__(self, ids: Tensor) -> Tensor:
        if not self._mapped:
            return self._rows[ids].float()
        rows = [self._shards[i // SHARD][i % SHARD : i % SHARD + 1] for i in ids.tolist()]
        return torch.cat(rows).float()


class Texts:
    """Embeddings of distinct strings.

    Args:
        folder: a filled one.
        strings: in the order of its rows.
    """

    def __init__(self, folder: Path, strings: Sequence[str]) -> None:
        self.rows = Store(folder, "embeddings")
        self.ids = {string: number for number, string in enumerate(strings)}
        self.ends = _read(sorted(folder.glob("shard-*.safetensors")), "ends")

    def of(self, strings: Iterable[str]) -> Tensor:
        """Return the embeddings ``(B, T, d)`` of known strings."""
        return self.rows[torch.tensor([self.ids[string] for string in strings])]


def cached_texts(
    root: Path, tokenizer: Any, text_encoder: Any, strings: Sequence[str], *, dtype: str = "float32"
) -> Texts:
    """Return the embeddings of distinct strings, from the cache or computed into it.

    Raises:
        EnvironmentFault: they would take more than half of the free disk.
    """
    width, tokens = text_encoder.config.hidden_size, tokenizer.model_max_length
    words = key_of(sorted(tokenizer.get_vocab().items()), tokens)
    key = key_of(text_fingerprint(text_encoder), words, list(strings), dtype)
    folder = root / f"text-{key}"
    if not (folder / MANIFEST).is_file():
        _announce(root, "text embeddings", len(strings) * tokens * width * _BYTES[dtype])
        manifest = {"strings": len(strings), "tokens": tokens, "width": width, "dtype": dtype}
        with filling(folder, manifest) as hidden:
            for number, part in enumerate(_parts(strings, SHARD)):
                found = [encode_texts(tokenizer, text_encoder, b) for b in _parts(part, _BATCH)]
                shard = {
                    "embeddings": torch.cat(found).cpu().to(getattr(torch, dtype)),
                    "ends": tokenize(tokenizer, part).ends,
                }
                save_tensors(shard, hidden / f"shard-{number:05d}.safetensors")
    return Texts(folder, strings)


def cached_latents(
    root: Path,
    vae: Any,
    fingerprint: str,
    pictures: Sequence[Path],
    *,
    resolution: int,
    flip: bool,
    dtype: str = "float32",
) -> Path:
    """Return the folder of the VAE's mean and log-variance of each picture, filled.

    With `flip` the mirrored picture i stands at ``len(pictures) + i``.

    Raises:
        EnvironmentFault: they would take more than half of the free disk.
    """
    from qr_cli.generate.pictures import load_picture

    files = [hashlib.sha256(path.read_bytes()).hexdigest() for path in pictures]
    folder = root / f"latents-{key_of(fingerprint, files, resolution, 'center', flip, dtype)}"
    if (folder / MANIFEST).is_file():
        return folder
    side = resolution // 2 ** (len(vae.config.block_out_channels) - 1)
    number = len(pictures) * (2 if flip else 1)
    size = 2 * number * vae.config.latent_channels * side * side * _BYTES[dtype]
    _announce(root, "latents", size)
    kind = getattr(torch, dtype)
    jobs = [(path, mirrored) for mirrored in ((False, True) if flip else (False,))
            for path in pictures]  # fmt: skip
    with filling(folder, {"pictures": number, "resolution": resolution}) as hidden:
        for count, part in enumerate(_parts(jobs, SHARD)):
            means, logvars = [], []
            for batch in _parts(part, 8):
                pixels = torch.stack([load_picture(p, resolution, flip=m) for p, m in batch])
                with torch.no_grad():
                    found = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist
                means.append(found.mean.cpu().to(kind))
                logvars.append(found.logvar.cpu().to(kind))
            shard = {
                "mean": torch.cat(means).contiguous(),
                "logvar": torch.cat(logvars).contiguous(),
            }
            save_tensors(shard, hidden / f"shard-{count:05d}.safetensors")
    return folder


def _read(files: Sequence[Path], name: str) -> Tensor:
    """Return one tensor of all shards, and read no other."""
    found = []
    for file in files:
        with safe_open(file, "pt") as shard:
            found.append(shard.get_tensor(name))
    return torch.cat(found)


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _announce(root: Path, what: str, size: int) -> None:
    """Say how much is about to be written.

    Raises:
        EnvironmentFault: it is more than half of the free disk.
    """
    root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(root).free
    log.info("caching %s: %s in %s", what, _size(size), root)
    if size > free / 2:
        raise EnvironmentFault(
            f"{what} would take {_size(size)} of {_size(free)} free in {root}",
            hint="--cache-dtype float16, --max-samples N, or --cache another disk",
        )


def _size(count: int) -> str:
    for unit, power in (("GB", 9), ("MB", 6)):
        if count >= 10**power:
            return f"{count / 10**power:.1f} {unit}"
    return f"{count / 1000:.0f} kB"
