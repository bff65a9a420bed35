"""`qr generate`: prompts in, pictures out, one record per picture in the order of the prompts.

Batches of consecutive pictures are formed first and then shared among processes, so that they hold
the same pictures, and give the same bytes, however many processes there are.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from qr_cli.engine.accelerator import check_device
from qr_cli.engine.launch import is_child
from qr_cli.engine.sharing import in_turns, told
from qr_cli.errors import DataError, UsageError
from qr_cli.generate import prompts as reading
from qr_cli.generate.base import base_folder, wishes
from qr_cli.generate.prompts import Prompt
from qr_cli.generate.sample_recipe import Generate
from qr_cli.generate.studio import Batch, Picture, Studio

Record = dict[str, Any]


def generate(
    recipe: Generate, *, overwrite: bool = False, resume: bool = False
) -> Iterator[Record]:
    """Yield a record per picture, in the order of prompts, seeds and variants.

    A prompt that cannot be drawn is a record ``{"id", "error"}``. Of several processes each yields
    all records.

    Args:
        recipe: what to draw, with what.
        overwrite: replace pictures that are there.
        resume: keep pictures that are there and were made in the same way.

    Raises:
        UsageError: no prompt, or pictures that are there already.
        DataError: prompts or base cannot be read.
        WeightsError: base or adapter cannot be used.
    """
    check_device(recipe.job.device, recipe.job.precision)
    found = _prompts(recipe)
    studio = Studio(recipe, overwrite=overwrite, resume=resume)
    if isinstance(found, list):  # all wait for the first, or it would draw what others find there
        listed = found
        told(lambda: studio.check_free(listed), recipe.job.device)
    records: list[Record] = []
    for record in in_turns(_batches(found, studio), studio.make, recipe.job.device):
        if recipe.compare.grid:
            records.append(record)
        studio.count(record)
        yield record
    studio.warn()
    drawn = any("image" in record for record in records)
    if recipe.compare.grid and drawn and os.environ.get("RANK", "0") == "0":
        from qr_cli.generate.grid import grid_of_records  # imports matplotlib

        yield {"event": "grid", "image": grid_of_records(records, studio.out).as_posix()}


def plan(recipe: Generate) -> Record:
    """Return what a call would do; no weights are read.

    Raises:
        QrError: what the call itself would refuse before it reads weights.
    """
    wished = wishes(base_folder(recipe.model.base))
    how, asked = recipe.sampling, recipe.prompts
    prompts = None if asked.source == "-" else list(_prompts(recipe))
    variants = len(recipe.compare.sweep_eta) or 1 + recipe.compare.compare
    return {
        "event": "plan",
        "base": recipe.model.base,
        "adapter": recipe.model.adapter_name,
        "prompts": None if prompts is None else len(prompts),
        "faulty_prompts": None if prompts is None else sum(p.fault is not None for p in prompts),
        "pictures": None if prompts is None else len(prompts) * asked.num_images * variants,
        "steps": how.steps or wished.steps,
        "guidance": wished.guidance if how.guidance is None else how.guidance,
        "batch_size": how.batch_size,
        "num_processes": recipe.job.num_processes,
        "out": recipe.job.out,
    }


# prompts, batches, processes ---------------------------------------------------------------------


def _prompts(recipe: Generate) -> list[Prompt] | Iterator[Prompt]:
    """Return the prompts; those of stdin come as they arrive, unless several processes share them.

    Raises:
        UsageError: there is none.
    """
    asked = recipe.prompts
    if asked.source is None:
        if asked.prompt:
            return list(reading.from_arguments(asked.prompt))
        raise UsageError(
            "no PROMPT is given",
            hint='qr generate "a number for the legs of a spider in the same colour as milk"',
        )
    if is_child():
        source = asked.source
        return told(lambda: list(reading.from_file(source)), recipe.job.device)
    if asked.source == "-":
        return reading.from_file("-")
    found = list(reading.from_file(asked.source))
    if not found:
        raise DataError(f"--prompts: {asked.source} holds no prompt")
    return found


def _batches(prompts: Iterable[Prompt], studio: Studio) -> Iterator[Batch]:
    """Yield pictures that are drawn at once: consecutive ones with the same steps and guidance.

    A prompt that cannot be drawn is a batch of its own.
    """
    batch: Batch = []
    for prompt in prompts:
        for picture in studio.pictures(prompt):
            alone = prompt.fault is not None
            if batch and (alone or _kind(picture) != _kind(batch[0])):
                yield batch
                batch = []
            batch.append(picture)
            if alone or len(batch) == studio.recipe.sampling.batch_size:
                yield batch
                batch = []
            if alone:
                break
    if batch:
        yield batch


def _kind(picture: Picture) -> tuple[int, float]:
    return picture.steps, picture.guidance
