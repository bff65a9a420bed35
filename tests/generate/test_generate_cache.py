"""The cache: hit, miss, killed, full, two at once; and it holds what would be computed."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple

import pytest
import torch
from bases import text_encoder, tokenizer
from PIL import Image

from qr_cli.errors import EnvironmentFault
from qr_cli.generate import cache as module
from qr_cli.generate.cache import MANIFEST, Store, cached_latents, cached_texts, filling
from qr_cli.generate.encode import encode_texts
from qr_cli.generate.pictures import load_picture

STRINGS = ["", "a cat", "a dog", "words"]


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return text_encoder(16, 2)


@pytest.fixture
def words(tmp_path):
    return tokenizer(tmp_path / "words", 12)


def test_what_is_cached_is_what_would_be_computed(tmp_path, encoder, words):
    found = cached_texts(tmp_path / "c", words, encoder, STRINGS)
    wanted = encode_texts(words, encoder, STRINGS)
    torch.testing.assert_close(found.of(STRINGS), wanted, rtol=0, atol=0)
    assert torch.equal(found.of(["words", ""]), wanted[[3, 0]])
    assert found.ends.tolist() == [1, 5, 5, 6]


def test_a_string_is_encoded_once_and_another_string_is_a_miss(tmp_path, encoder, words):
    calls = []
    encoder.register_forward_pre_hook(lambda *a: calls.append(1))
    cached_texts(tmp_path, words, encoder, STRINGS)
    assert len(calls) == 1
    cached_texts(tmp_path, words, encoder, STRINGS)
    assert len(calls) == 1
    cached_texts(tmp_path, words, encoder, [*STRINGS[:3], "changed"])
    assert len(calls) == 2
    with torch.no_grad():
        encoder.get_input_embeddings().weight[0, 0] += 1
    cached_texts(tmp_path, words, encoder, STRINGS)
    assert len(calls) == 3


def test_several_shards_are_one_table_also_when_mapped(tmp_path, encoder, words, monkeypatch):
    monkeypatch.setattr(module, "SHARD", 3)
    texts = cached_texts(tmp_path, words, encoder, STRINGS)
    wanted = texts.of(STRINGS)
    assert len(list(tmp_path.glob("text-*/shard-*"))) == 2
    free = namedtuple("Memory", "available")(0)
    monkeypatch.setattr(module.psutil, "virtual_memory", lambda: free)
    mapped = cached_texts(tmp_path, words, encoder, STRINGS)
    assert mapped.rows._mapped
    assert torch.equal(mapped.of(STRINGS[::-1]), wanted.flip(0))


def test_half_the_bytes_in_float16(tmp_path, encoder, words):
    cached_texts(tmp_path / "a", words, encoder, STRINGS)
    found = cached_texts(tmp_path / "b", words, encoder, STRINGS, dtype="float16")
    assert found.of(STRINGS).dtype == torch.float32
    sizes = [next((tmp_path / name).glob("text-*/shard-*")).stat().st_size for name in ("a", "b")]
    assert sizes[1] < 0.6 * sizes[0]


def test_more_than_half_of_the_free_disk_is_refused(tmp_path, encoder, words, monkeypatch):
    usage = namedtuple("Usage", "free")(4000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(EnvironmentFault, match="text embeddings would take 3 kB of 4 kB free") as e:
        cached_texts(tmp_path, words, encoder, STRINGS)
    assert "--cache-dtype float16" in e.value.hint
    assert not list(tmp_path.glob("text-*"))


KILLED = """
import os, signal, sys
from pathlib import Path
from qr_cli.generate.cache import filling
with filling(Path(sys.argv[1]), {}) as hidden:
    (hidden / "shard-00000.safetensors").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_killed_while_writing_there_is_no_folder(tmp_path):
    from qr_cli import __file__ as package

    root = os.path.dirname(os.path.dirname(package))
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "x")], env=os.environ | {"PYTHONPATH": root}
    )
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "x").exists()
    with filling(tmp_path / "x", {"n": 1}):
        pass
    assert json.loads((tmp_path / "x" / MANIFEST).read_text()) == {"n": 1}


def test_a_fault_while_writing_leaves_nothing(tmp_path):
    with pytest.raises(ValueError), filling(tmp_path / "x", {}) as hidden:
        (hidden / "part").write_text("half")
        raise ValueError
    assert not list(tmp_path.iterdir())


def test_of_two_that_fill_the_same_folder_the_first_wins(tmp_path):
    with filling(tmp_path / "x", {"by": "second"}):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "getpid", lambda: 1)
            with filling(tmp_path / "x", {"by": "first"}):
                pass
    assert json.loads((tmp_path / "x" / MANIFEST).read_text()) == {"by": "first"}
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFault, match="cannot write the cache"):
        with filling(tmp_path / "file" / "x", {}):
            pass


def test_latents_are_those_of_the_vae_and_mirrored_ones_follow(tmp_path):
    from qr_cli.generate.tiny import TinyVAE

    pictures = []
    for i, side in enumerate((64, 96)):
        picture = Image.effect_noise((side, 64), 60).convert("RGB")
        picture.save(tmp_path / f"{i}.png")
        pictures.append(tmp_path / f"{i}.png")
    vae = TinyVAE()
    folder = cached_latents(tmp_path / "c", vae, "v", pictures, resolution=64, flip=True)
    mean = Store(folder, "mean")
    for i, path in enumerate(pictures):
        pixels = load_picture(path, 64)[None]
        wanted = vae.encode(pixels).latent_dist.mode()
        torch.testing.assert_close(mean[torch.tensor([i])], wanted)
        torch.testing.assert_close(mean[torch.tensor([2 + i])], wanted.flip(3))
    again = cached_latents(tmp_path / "c", vae, "v", pictures, resolution=64, flip=True)
    other = cached_latents(tmp_path / "c", vae, "v", pictures, resolution=32, flip=True)
    assert again == folder != other


def test_a_picture_is_resized_by_its_short_side_and_cropped_in_the_middle(tmp_path):
    picture = Image.new("RGB", (40, 20), "black")
    picture.paste("white", (10, 0, 30, 20))
    picture.save(tmp_path / "p.png")
    pixels = load_picture(tmp_path / "p.png", 10)
    assert pixels.shape == (3, 10, 10) and pixels[:, :, 1:-1].min() > 0.9
