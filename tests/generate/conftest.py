"""Base folders of the real layout, and where the published data are."""

from pathlib import Path

import pytest
from bases import components


@pytest.fixture(scope="session")
def sd15(tmp_path_factory):
    """Return a saved SD 1.x folder."""
    from diffusers import StableDiffusionPipeline

    folder = tmp_path_factory.mktemp("base")
    parts = components(folder)
    StableDiffusionPipeline(**parts, requires_safety_checker=False).save_pretrained(folder / "sd15")
    return folder / "sd15"


@pytest.fixture(scope="session")
def sd21(tmp_path_factory):
    """Return a saved SD 2.x folder: 1024 wide, predicts velocities."""
    from diffusers import StableDiffusionPipeline

    folder = tmp_path_factory.mktemp("base2")
    parts = components(folder, version=2)
    StableDiffusionPipeline(**parts, requires_safety_checker=False).save_pretrained(folder / "sd21")
    return folder / "sd21"


def _load(folder):
    from diffusers import StableDiffusionPipeline

    found = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    found.set_progress_bar_config(disable=True)
    return found


@pytest.fixture(scope="session")
def loaded(sd15):
    return _load(sd15)


@pytest.fixture
def pipe(loaded):
    """Return a new, quiet SD 1.x pipeline of shared models: change none of them."""
    found = type(loaded)(**loaded.components, requires_safety_checker=False)
    found.set_progress_bar_config(disable=True)
    return found


@pytest.fixture
def own_pipe(sd15):
    """Return a quiet SD 1.x pipeline whose models may be changed."""
    return _load(sd15)


@pytest.fixture
def surd():
    """Return the folder of what the authors publish of their data."""
    folder = Path(__file__).parents[3] / "shared" / "data" / "surd"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data/surd")
    return folder


@pytest.fixture(scope="session")
def small_surd(tmp_path_factory):
    """Return a SURD folder of 120 painted digits, 6 of them to validate on."""
    import torch
    from PIL import Image

    from qr_cli.generate.digits import picture
    from qr_cli.generate.surd import dump
    from qr_cli.generate.world import surd_rows

    folder = tmp_path_factory.mktemp("surd") / "train"
    folder.mkdir()
    draw = torch.Generator().manual_seed(0)
    rows = [row | {"split": "val" if i < 6 else "train"} for i, row in
            enumerate(surd_rows("train")[:120])]  # fmt: skip
    for row in rows:
        pixels = picture(row["label"]["digit"], row["label"]["tint"], draw=draw)
        Image.fromarray(pixels).save(folder / row["file_name"])
    (folder / "metadata.jsonl").write_text(dump(rows), encoding="utf-8")
    return folder.parent


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """Return a cache that all trainings share."""
    return tmp_path_factory.mktemp("cache")
