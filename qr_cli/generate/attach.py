"""An adapter behind the text encoder of a diffusers pipeline, for as long as one likes.

`attach` replaces the attribute `encode_prompt` of one pipeline object by a wrapper; no class and no
model is changed. The authors copied a pipeline and added a line; there, as here, the negative
prompt is adapted too. What the user hands in as `prompt_embeds` (compel and the like) passes
through the same wrapper. A pipeline made from `pipe.components` or by `from_pipe` is another
object: attach again.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, wraps
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from qr_cli.errors import EnvironmentFault, UsageError, WeightsError
from qr_cli.generate.adapter import SURAdapter
from qr_cli.generate.fingerprints import text_fingerprint, unet_fingerprint
from qr_cli.generate.folder import find_adapter

log = logging.getLogger(__name__)

_MARK = "_qr_attached"  # the attribute of a pipeline that holds its `Attached`


class Attached:
    """A pipeline with an adapter; made by `attach`, ends by `detach` or at the end of a `with`."""

    def __init__(self, pipe: Any, adapter: SURAdapter, eta: float) -> None:
        self.pipe, self.adapter = pipe, adapter.float().eval()
        self.eta = eta
        self._active = True
        self._before: Any = vars(pipe).get("encode_prompt")  # somebody else's wrapper
        self._wrapper = _wrap(self, pipe.encode_prompt)
        pipe.encode_prompt = self._wrapper
        setattr(pipe, _MARK, self)

    @property
    def eta(self) -> float:
        """How much of the adapted embedding is used; 0 is the bare pipeline."""
        return self._eta

    @eta.setter
    def eta(self, value: float) -> None:
        self._eta = check_eta(value)

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Leave prompts alone within a `with`."""
        before, self._active = self._active, False
        try:
            yield
        finally:
            self._active = before

    def detach(self) -> None:
        """Give the pipeline back what it had before."""
        self._active = False  # also where a later wrapper still calls this one
        if getattr(self.pipe, _MARK, None) is self:
            delattr(self.pipe, _MARK)
        if vars(self.pipe).get("encode_prompt") is not self._wrapper:
            return
        if self._before is None:
            del self.pipe.encode_prompt
        else:
            self.pipe.encode_prompt = self._before

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.detach()

    def adapt(self, positive: Tensor, negative: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return what `encode_prompt` should give instead of ``(positive, negative)``."""
        if not self._active or self._eta == 0:
            return positive, negative
        if negative is None or not self.adapter.config.adapt_negative:
            return self._through(positive), negative
        if negative.shape[1:] != positive.shape[1:]:
            return self._through(positive), self._through(negative)
        both = self._through(torch.cat([negative, positive]))  # as released: negative first
        return both[len(negative) :], both[: len(negative)]

    def _through(self, x: Tensor) -> Tensor:
        adapter, limit = self.adapter.to(x.device), self.adapter.config.max_tokens
        chunked = x.shape[1] > limit and x.shape[1] % limit == 0
        if chunked and adapter.config.attention_axis != "batch":
            return adapter(x.reshape(-1, limit, x.shape[-1]), self._eta).out.view(x.shape)
        return adapter(x, self._eta).out


def attach(
    pipe: Any, adapter: SURAdapter | str | Path, *, eta: float | None = None, strict: bool = False
) -> Attached:
    """Put an adapter behind the text encoder of a pipeline; replaces one that is there.

    Args:
        pipe: a Stable Diffusion 1.x or 2.x pipeline of diffusers (text to image, image to image,
            inpainting, ControlNet); its dtype and device may be any.
        adapter: the adapter, or where it is: a folder, a run, "tiny", an official ``.pt`` file.
        eta: how much of the adapted embedding is used, 0 to 2; default: the adapter's own.
        strict: whether an adapter trained for another base model is an error, not a warning.

    Raises:
        UsageError: the pipeline has not exactly one CLIP text encoder, or eta is out of range.
        WeightsError: the widths do not agree, or `strict` and the bases do not.
    """
    check_family(pipe)
    if isinstance(adapter, str | Path):
        adapter = find_adapter(adapter, eta=eta)
    check_fit(pipe, adapter, strict=strict)
    detach(pipe)
    return Attached(pipe, adapter, adapter.config.eta if eta is None else eta)


def detach(pipe: Any) -> None:
    """Take the adapter of a pipeline off; nothing happens where there is none."""
    attached: Attached | None = getattr(pipe, _MARK, None)
    if attached is not None:
        attached.detach()


def set_eta(pipe: Any, eta: float) -> None:
    """Set how much of the adapted embedding a pipeline uses.

    Raises:
        UsageError: no adapter is attached, or eta is out of range.
    """
    attached: Attached | None = getattr(pipe, _MARK, None)
    if attached is None:
        raise UsageError(f"this {type(pipe).__name__} has no adapter", hint="attach(pipe, adapter)")
    attached.eta = eta


def check_eta(eta: float) -> float:
    """Return eta.

    Raises:
        UsageError: it is outside [0, 2] or no number.
    """
    if not math.isfinite(eta) or not 0 <= eta <= 2:
        raise UsageError(f"--eta: should be between 0 and 2, got {eta:g}", hint="--eta 0.1")
    if eta > 1:
        _warn_of_extrapolation(eta)
    return float(eta)


@cache
def _warn_of_extrapolation(eta: float) -> None:
    """Say once per process what an eta above 1 does."""
    log.warning("eta %g extrapolates: beyond 1 the sentence's own embedding is subtracted", eta)


def check_family(pipe: Any) -> None:
    """Raise `UsageError` unless the pipeline is of the kind the method is defined for."""
    family = type(pipe).__name__.removesuffix("Pipeline")
    only = "the SUR-adapter is defined for SD 1.x / 2.x"
    if not hasattr(pipe, "encode_prompt"):
        raise UsageError(f"{family} has no encode_prompt; {only}")
    names = {n for n in getattr(pipe, "components", {}) if n.startswith("text_encoder")}
    count = sum(getattr(pipe, name) is not None for name in names)
    if count != 1 or getattr(pipe, "text_encoder", None) is None or len(names) > 1:
        raise UsageError(f"{family} has {max(count, len(names))} text encoders; {only}")
    kind = getattr(pipe.text_encoder.config, "model_type", "")
    if not kind.startswith("clip"):
        raise UsageError(f"{family} has a text encoder of type {kind!r}; {only}")


def check_fit(pipe: Any, adapter: SURAdapter, *, strict: bool = False) -> None:
    """Compare an adapter with the base it is to work for.

    Raises:
        WeightsError: the widths do not agree, or `strict` and the weights do not.
    """
    base, config = base_name(pipe), adapter.config
    width = pipe.text_encoder.config.hidden_size
    if config.hidden_size != width:
        raise WeightsError(
            f"adapter is {config.hidden_size} wide, the text encoder of {base} {width}"
        )
    if not config.base_text_fingerprint:
        log.info("the adapter does not say for which base it was trained")
        return
    unets = config.base_unet_fingerprint
    other = [
        part
        for part, wanted, found in (
            ("text encoder", config.base_text_fingerprint, text_fingerprint(pipe.text_encoder)),
            ("U-Net", unets, unet_fingerprint(pipe.unet) if unets else ""),
        )
        if wanted != found
    ]
    if not other:
        return
    said = f"the adapter was trained for {config.base_name or 'another base'}; "
    said += f"the {' and the '.join(other)} of {base} " + ("differ" if other[1:] else "differs")
    if strict:
        raise WeightsError(said)
    log.warning("%s", said)


def base_name(pipe: Any) -> str:
    """Return what a pipeline calls itself: the folder it came from."""
    name = str(getattr(pipe.config, "_name_or_path", "") or type(pipe).__name__)
    return Path(name).name or name


def _wrap(attached: Attached, original: Any) -> Any:
    """Return `encode_prompt` with the adapter behind it."""
    signature = inspect.signature(original)

    @wraps(original)
    def encode_prompt(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs).arguments | kwargs
        pipe = attached.pipe
        skips = given.get("clip_skip") is not None and given.get("prompt_embeds") is None
        if skips and not hasattr(pipe.text_encoder, "text_model"):
            raise EnvironmentFault(
                "clip_skip fails in this pipeline with the installed transformers",
                hint="pipe(prompt_embeds=qr_cli.generate.encode(pipe, prompt, clip_skip=1), ...)",
            )
        positive, negative, *rest = original(*args, **kwargs)
        return (*attached.adapt(positive, negative), *rest)

    return encode_prompt
