"""Files of tensors: of what mode they are, and which are refused before torch reads them."""

import os
import stat

import pytest
import torch

from qr_cli.engine.damage import FAULTS
from qr_cli.engine.tensors import load_torch, save_tensors


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_safetensors_get_the_mode_of_any_new_file(mask, tmp_path):
    before = os.umask(mask)
    try:
        save_tensors({"a": torch.ones(2)}, tmp_path / "a.safetensors")
        (tmp_path / "b").write_text("b")
    finally:
        os.umask(before)
    assert mode(tmp_path / "a.safetensors") == mode(tmp_path / "b") == 0o666 & ~mask


def test_every_file_of_a_checkpoint_has_the_mode_of_any_other(tmp_path):
    from fuzz.weights import make_progress

    before = os.umask(0o022)
    try:
        make_progress(tmp_path)
    finally:
        os.umask(before)
    modes = {path.name: mode(path) for path in tmp_path.rglob("*") if path.is_file()}
    assert set(modes.values()) == {0o644}, modes


@pytest.mark.parametrize("new", [True, False])
def test_both_formats_of_torch_are_read(new, tmp_path):
    one = torch.arange(3.0)
    torch.save({"a": one, "b": one[:2], "seed": 2**40}, tmp_path / "a.pth",
               _use_new_zipfile_serialization=new)  # fmt: skip
    found = load_torch(tmp_path / "a.pth")
    assert found["b"].tolist() == [0, 1] and found["seed"] == 2**40


def test_a_storage_larger_than_its_file_is_not_allocated(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"a": torch.ones(77)}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"KMN", b"J\xff\xff\xff\x7fN"))  # the length, before the view
    assert path.read_bytes() != whole
    with pytest.raises(FAULTS, match="2,147,483,647 numbers"):
        load_torch(path)
