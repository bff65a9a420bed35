"""The base that ships: a whole diffusers folder, small, and it draws what keywords say."""

import hashlib
import json
import re

import pytest
import torch

from qr_cli.errors import RunFailed
from qr_cli.generate import tiny, tiny_build, tiny_check, world
from qr_cli.generate.base import TINY, load_base
from qr_cli.generate.digits import ASSETS
from qr_cli.generate.draw import draw, noise
from qr_cli.generate.judges import CnnJudge, KnnJudge, TintJudge
from qr_cli.generate.tiny_recipe import Build, Tiny, TinySd


@pytest.fixture(scope="module")
def base():
    return load_base("tiny")


def test_the_folder_loads_with_stock_diffusers():
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(TINY, local_files_only=True)
    assert isinstance(pipe.vae, tiny.TinyVAE)
    assert {pipe.unet.dtype, pipe.vae.dtype, pipe.text_encoder.dtype} == {torch.float32}
    assert pipe.vae_scale_factor == 8 and pipe.safety_checker is None


def test_clipping_the_sample_is_off(base):
    """With it, clipped pictures and unclipped noise disagree, and digits fall apart."""
    assert base.scheduler.config.clip_sample is False
    assert base.scheduler.config.prediction_type == "v_prediction"
    assert base.scheduler.config.timestep_spacing == "trailing"


def test_the_parts_have_the_sizes_they_are_said_to_have(base):
    counts = {
        name: sum(p.numel() for p in part.parameters())
        for name, part in (("unet", base.unet), ("text", base.text_encoder), ("vae", base.vae))
    }
    assert counts == {"unet": 1_190_931, "text": 138_304, "vae": 0}


def test_the_text_encoder_is_the_one_that_is_drawn(base):
    drawn = tiny.text_encoder(tiny.tokenizer()).state_dict()
    for name, tensor in base.text_encoder.state_dict().items():
        torch.testing.assert_close(tensor, drawn[name].half().to(tensor.dtype), rtol=0, atol=0)


def test_the_60_canonical_prompts_are_drawn_right(base):
    prompts = world.canonical_prompts()
    done = draw(
        base, [p for p, _, _ in prompts], [""] * 60,
        noise(base, range(60), height=64, width=64), steps=12, guidance=3.0,
    )  # fmt: skip
    pictures = done.pictures.permute(0, 3, 1, 2).float() / 255
    digits = torch.tensor([digit for _, digit, _ in prompts])
    tints = torch.tensor([list(world.TINTS).index(tint) for _, _, tint in prompts])
    assert (CnnJudge().read(pictures) == digits).sum() >= 57
    assert (KnnJudge().read(pictures) == digits).sum() >= 57
    assert (TintJudge().read(pictures) == tints).sum() >= 59


def test_what_ships_is_small_and_is_what_the_readme_says():
    files = [path for path in ASSETS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 5e6
    listed = re.findall(r"^([0-9a-f]{64})  (\S+)$", (ASSETS / "README.md").read_text(), re.M)
    assert len(listed) >= 6
    for digest, name in listed:
        assert hashlib.sha256((ASSETS / name).read_bytes()).hexdigest() == digest, name


def test_the_wishes_of_the_base_are_in_its_folder():
    assert json.loads((TINY / "qr.json").read_text("utf-8")) == tiny.DEFAULTS


# the VAE ---------------------------------------------------------------------------------------


def test_the_vae_brings_back_what_it_was_given_where_pixels_are_blocks():
    latents = torch.rand(2, 3, 8, 8) * 2 - 1
    pixels = latents.repeat_interleave(8, 2).repeat_interleave(8, 3)
    found = tiny.TinyVAE().encode(pixels).latent_dist
    torch.testing.assert_close(found.mode(), latents)
    torch.testing.assert_close(found.sample(), latents)
    assert tiny.TinyVAE().decode(latents).sample.shape == (2, 3, 64, 64)
    assert tiny.TinyVAE().decode(9 * latents, return_dict=False)[0].abs().max() <= 1


# the build -------------------------------------------------------------------------------------

SHORT = Tiny(steps=8, batch_size=16, warmup=1)


def test_a_short_training_learns_is_repeatable_and_leaves_the_text_encoder_alone():
    """Repeatable to a per cent: the first of a process that trained others differs a little."""
    longer = SHORT.model_copy(update={"steps": 30})
    losses: list[float] = []
    state = torch.get_rng_state()
    first, mean = tiny_build.train(**longer.model_dump(), tick=lambda _, loss: losses.append(loss))
    again: list[float] = []
    tiny_build.train(**SHORT.model_dump(), tick=lambda _, loss: again.append(loss))
    assert torch.equal(state, torch.get_rng_state())
    assert sum(losses[-5:]) / 5 < 0.75 * sum(losses[:3]) / 3
    assert mean == pytest.approx(sum(losses) / len(losses))
    assert again[0] == pytest.approx(losses[0], rel=1e-2)
    assert not any(p.requires_grad for p in first.text_encoder.parameters())


def test_the_learning_rate_rises_and_falls_to_its_floor():
    rates = [tiny_build.rate(step, 1200, 100, 0.02) for step in range(1201)]
    assert rates[0] == pytest.approx(1 / 100) and max(rates) == rates[100] == 1
    assert rates[-1] == pytest.approx(0.02)


def test_a_build_writes_a_whole_folder_and_a_poor_one_fails_its_check(tmp_path, monkeypatch):
    few = tiny_check.seen()[:4]
    monkeypatch.setattr(tiny_check, "seen", lambda: few)
    monkeypatch.setattr(tiny_check, "judge_figures", lambda seed: {})
    recipe = TinySd(tiny=SHORT, build=Build(out=str(tmp_path / "made"), check=True))
    records = []
    with pytest.raises(RunFailed, match="built: keyword digit-cnn"):
        for record in tiny_check.build(recipe):
            records.append(record)
    assert [record["event"] for record in records] == ["build", "judges", "check", "check"]
    assert records[2]["keyword_digit-cnn"] == records[2]["keyword_tint"] == 1
    assert load_base(str(tmp_path / "made")).unet.config.cross_attention_dim == 64
