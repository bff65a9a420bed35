"""The hook at `encode_prompt`: what it adapts, when, and that it leaves no trace."""

import hashlib
import json
import logging

import numpy as np
import pytest
import torch
from bases import make_adapter, tokenizer

import qr_cli
from qr_cli.errors import EnvironmentFault, UsageError, WeightsError
from qr_cli.generate.attach import Attached, attach, check_fit, detach, set_eta
from qr_cli.generate.encode import encode, tokenize
from qr_cli.generate.fingerprints import text_fingerprint, unet_fingerprint


def draw(pipe, prompt="an aristocratic maiden", **settings):
    generator = torch.Generator().manual_seed(5)
    settings = {"num_inference_steps": 2, "height": 64, "width": 64} | settings
    return np.asarray(pipe(prompt, generator=generator, output_type="np", **settings).images)


def prompts(pipe, text="a cat", negative=None, images=1, guidance=True):
    return pipe.encode_prompt(text, "cpu", images, guidance, negative)


def test_eta_0_and_detaching_leave_the_picture_bit_for_bit(pipe):
    bare = draw(pipe)
    with attach(pipe, make_adapter(), eta=0.0) as attached:
        assert np.array_equal(draw(pipe), bare)
        attached.eta = 1.0
        assert not np.array_equal(draw(pipe), bare)
        with attached.disabled():
            assert np.array_equal(draw(pipe), bare)
    assert np.array_equal(draw(pipe), bare)
    assert "encode_prompt" not in vars(pipe)


def test_positive_and_negative_are_adapted_alone(pipe):
    adapter = make_adapter(eta=0.5)
    positive, negative = prompts(pipe, negative="blurry")
    with attach(pipe, adapter):
        found = prompts(pipe, negative="blurry")
    for mine, raw in zip(found, (positive, negative), strict=True):
        torch.testing.assert_close(mine, adapter(raw).out)


def test_the_negative_prompt_can_be_left_alone(pipe):
    negative = prompts(pipe)[1]
    with attach(pipe, make_adapter(adapt_negative=False)):
        assert torch.equal(prompts(pipe)[1], negative)


def test_without_guidance_there_is_no_negative(pipe):
    with attach(pipe, make_adapter()):
        positive, negative = prompts(pipe, guidance=False)
    assert negative is None and positive.shape == (1, 77, 768)


def test_as_released_negative_and_positive_mix(pipe):
    adapter = make_adapter(attention_axis="batch", eta=1.0)
    positive, negative = prompts(pipe, negative="blurry")
    with attach(pipe, adapter):
        found = torch.cat(prompts(pipe, negative="blurry")[::-1])
    torch.testing.assert_close(found, adapter(torch.cat([negative, positive])).out)
    assert (found[1:] - adapter(positive).out).abs().max() > 1e-3


def test_several_images_of_a_prompt_are_adapted_alike(pipe):
    with attach(pipe, make_adapter()):
        positive, _ = prompts(pipe, images=3)
    assert positive.shape[0] == 3
    torch.testing.assert_close(positive[0], positive[2])


def test_the_embeddings_keep_their_dtype_and_the_adapter_computes_in_float32(pipe):
    adapter = make_adapter()
    half = encode(pipe, "a cat").half()
    with attach(pipe, adapter.half(), eta=1.0) as attached:
        found, _ = attached.adapt(half, None)
    assert found.dtype == torch.float16 and attached.adapter.dtype == torch.float32
    torch.testing.assert_close(found, attached.adapter(half.float(), 1.0).out.half())


def test_there_is_no_dropout_and_the_gradient_is_left_to_the_caller(pipe):
    with attach(pipe, make_adapter(dropout=0.5).train()) as attached:
        assert not attached.adapter.training
        x = torch.randn(1, 77, 768, requires_grad=True)
        attached.adapt(x, None)[0].sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("axis", ["token", "none", "batch"])
def test_a_long_prompt_is_adapted_in_chunks(pipe, axis):
    adapter, x = make_adapter(attention_axis=axis, eta=1.0), torch.randn(1, 154, 768)
    with attach(pipe, adapter) as attached, torch.no_grad():
        found, _ = attached.adapt(x, None)
        first, whole = adapter(x[:, :77]).out, adapter(x).out
    if axis == "batch":
        torch.testing.assert_close(found, whole)
    else:
        torch.testing.assert_close(found[:, :77], first)


def test_positive_and_negative_may_differ_in_length(pipe):
    with attach(pipe, make_adapter()) as attached:
        a, b = attached.adapt(torch.randn(1, 154, 768), torch.randn(1, 77, 768))
    assert (a.shape[1], b.shape[1]) == (154, 77)


def test_embeddings_handed_in_are_adapted_too(pipe):
    raw = encode(pipe, "a cat")
    adapter = make_adapter(eta=1.0)
    with attach(pipe, adapter) as attached:
        found, _ = pipe.encode_prompt(None, "cpu", 1, False, prompt_embeds=raw)
        torch.testing.assert_close(found, adapter(raw).out)
        with attached.disabled():
            assert torch.equal(pipe.encode_prompt(None, "cpu", 1, False, prompt_embeds=raw)[0], raw)


def test_attaching_twice_replaces_and_never_wraps_twice(pipe):
    raw, _ = prompts(pipe)
    first, second = make_adapter(eta=1.0), make_adapter(eta=0.25)
    attach(pipe, first)
    attach(pipe, second)
    torch.testing.assert_close(prompts(pipe)[0], second(raw).out)
    detach(pipe)
    detach(pipe)
    assert torch.equal(prompts(pipe)[0], raw)


def test_somebody_elses_wrapper_comes_back_and_may_lie_above(pipe):
    raw, _ = prompts(pipe)
    original = pipe.encode_prompt
    below = lambda *a, **k: original(*a, **k)  # noqa: E731
    pipe.encode_prompt = below
    attach(pipe, make_adapter(eta=1.0))
    ours = pipe.encode_prompt
    detach(pipe)
    assert pipe.encode_prompt is below
    attach(pipe, make_adapter(eta=1.0))
    ours = pipe.encode_prompt
    pipe.encode_prompt = lambda *a, **k: ours(*a, **k)
    assert not torch.equal(prompts(pipe)[0], raw)
    detach(pipe)
    assert torch.equal(prompts(pipe)[0], raw)


def test_eta_can_be_set_from_outside(pipe):
    with pytest.raises(UsageError, match="has no adapter"):
        set_eta(pipe, 0.5)
    with attach(pipe, make_adapter()) as attached:
        set_eta(pipe, 0.5)
        assert attached.eta == 0.5


@pytest.mark.parametrize("eta", [-0.1, 2.1, float("nan"), float("inf")])
def test_an_eta_out_of_range_is_refused_and_nothing_is_attached(pipe, eta):
    with pytest.raises(UsageError, match="--eta: should be between 0 and 2"):
        attach(pipe, make_adapter(), eta=eta)
    assert "encode_prompt" not in vars(pipe)


def test_an_eta_above_1_is_warned_about(pipe, caplog):
    with attach(pipe, make_adapter(), eta=1.5):
        assert "extrapolates" in caplog.text


def test_saving_a_pipeline_does_not_save_the_hook(pipe, tmp_path):
    def digests(folder):
        pipe.save_pretrained(folder)
        return {
            str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in folder.rglob("*")
            if p.is_file()
        }

    before = digests(tmp_path / "a")
    with attach(pipe, make_adapter()):
        assert digests(tmp_path / "b") == before


def test_a_pipeline_of_the_same_parts_has_no_hook(pipe):
    other = type(pipe)(**pipe.components, requires_safety_checker=False)
    raw, _ = prompts(pipe)
    with attach(pipe, make_adapter(eta=1.0)):
        assert torch.equal(prompts(other)[0], raw)
        with attach(other, make_adapter(eta=0.5)):
            assert not torch.equal(prompts(other)[0], prompts(pipe)[0])


def test_image_to_image_inpainting_and_controlnet_accept_it(pipe):
    import diffusers

    image = torch.rand(1, 3, 64, 64)
    adapter = make_adapter(eta=1.0)
    parts = dict(pipe.components)
    control = diffusers.ControlNetModel.from_unet(
        pipe.unet, conditioning_embedding_out_channels=(8, 8, 8, 8)
    )
    torch.nn.init.normal_(control.controlnet_mid_block.weight, std=0.1)
    cases = [
        ("StableDiffusionImg2ImgPipeline", {}, {"image": image, "strength": 1.0}),
        ("StableDiffusionInpaintPipeline", {}, {"image": image, "mask_image": image[:, :1]}),
        ("StableDiffusionControlNetPipeline", {"controlnet": control}, {"image": image}),
    ]
    for name, more, inputs in cases:
        made = getattr(diffusers, name)(**parts, **more, requires_safety_checker=False)
        made.set_progress_bar_config(disable=True)
        size = {} if "Img2Img" in name else {"height": 64, "width": 64}

        def call(made=made, inputs=inputs, size=size):
            generator = torch.Generator().manual_seed(0)
            return made(
                "a cat", **inputs, **size, num_inference_steps=1, generator=generator,
                output_type="np",
            ).images  # fmt: skip

        bare = call()
        with attach(made, adapter):
            assert not np.array_equal(call(), bare), name
        assert np.array_equal(call(), bare), name


def test_skipping_layers_works_through_the_helper_and_is_refused_elsewhere(pipe):
    assert encode(pipe, ["a", "b"]).shape == (2, 77, 768)
    raw, _ = prompts(pipe, "a cat")
    assert torch.equal(encode(pipe, "a cat"), raw)
    skipped = encode(pipe, "a cat", clip_skip=1)
    assert skipped.shape == raw.shape and not torch.equal(skipped, raw)
    with pytest.raises(UsageError, match="--clip-skip: 2 of 1 layers"):
        encode(pipe, "a cat", clip_skip=2)
    with attach(pipe, make_adapter()):
        if not hasattr(pipe.text_encoder, "text_model"):
            with pytest.raises(EnvironmentFault) as fault:
                pipe.encode_prompt("a cat", "cpu", 1, False, clip_skip=1)
            assert "qr_cli.generate.encode(pipe, prompt, clip_skip=1)" in fault.value.hint
        given = pipe.encode_prompt(None, "cpu", 1, False, prompt_embeds=skipped, clip_skip=1)
        assert given[0].shape == skipped.shape


def test_tokens_end_where_the_text_does(tmp_path):
    words = tokenizer(tmp_path, 8)
    found = tokenize(words, ["", "abc", "a text that is too long"])
    assert found.ids.shape == (3, 8) and found.ends.tolist() == [1, 4, 7]
    assert found.lengths.tolist() == [2, 5, 20]
    assert (found.ids[torch.arange(3), found.ends] == words.eos_token_id).all()


def test_widths_must_agree(own_pipe):
    with pytest.raises(WeightsError, match="adapter is 16 wide, the text encoder of sd15 768"):
        attach(own_pipe, make_adapter(16))


def test_another_base_is_warned_about_and_an_error_when_strict(own_pipe, caplog):
    print_of = dict(
        base_text_fingerprint=text_fingerprint(own_pipe.text_encoder),
        base_unet_fingerprint=unet_fingerprint(own_pipe.unet),
    )
    with caplog.at_level(logging.INFO):
        check_fit(own_pipe, make_adapter(base_name="x", **print_of), strict=True)
        assert not caplog.text
        check_fit(own_pipe, make_adapter())
        assert "does not say for which base" in caplog.text
        other = make_adapter(base_name="sd15-pruned", **print_of | {"base_unet_fingerprint": "0"})
        attach(own_pipe, other).detach()
    assert "trained for sd15-pruned; the U-Net of sd15 differs" in caplog.text
    with pytest.raises(WeightsError, match="sd15-pruned"):
        attach(own_pipe, other, strict=True)
    assert "encode_prompt" not in vars(own_pipe)


def test_fingerprints_survive_half_precision_and_change_with_the_weights(own_pipe):
    text, unet = text_fingerprint(own_pipe.text_encoder), unet_fingerprint(own_pipe.unet)
    own_pipe.to(torch.float16)
    assert text_fingerprint(own_pipe.text_encoder) == text
    assert unet_fingerprint(own_pipe.unet) == unet
    with torch.no_grad():
        own_pipe.unet.conv_out.weight[0, 0, 0, 0] += 1
        own_pipe.text_encoder.get_input_embeddings().weight[0, 0] += 1
    assert text_fingerprint(own_pipe.text_encoder) != text
    assert unet_fingerprint(own_pipe.unet) != unet


class Two:
    """A pipeline with two encoders, as SDXL has."""

    components = {"text_encoder": object(), "text_encoder_2": object()}
    text_encoder = text_encoder_2 = components["text_encoder"]

    def encode_prompt(self): ...


class StableDiffusionXLPipeline(Two): ...


class Bare: ...


def test_other_families_are_refused_by_name(own_pipe):
    only = "the SUR-adapter is defined for SD 1.x / 2.x"
    with pytest.raises(UsageError, match=f"StableDiffusionXL has 2 text encoders; {only}"):
        attach(StableDiffusionXLPipeline(), make_adapter())
    with pytest.raises(UsageError, match=f"Bare has no encode_prompt; {only}"):
        attach(Bare(), make_adapter())
    own_pipe.text_encoder.config.model_type = "t5"
    with pytest.raises(UsageError, match=f"a text encoder of type 't5'; {only}"):
        attach(own_pipe, make_adapter())


def test_the_public_name_takes_networks_and_pipelines(pipe):
    assert isinstance(qr_cli.attach(pipe, make_adapter(), eta=0.5), Attached)
    qr_cli.generate.detach(pipe)
    network = qr_cli.create_backbone("qr:resnet8", num_classes=10)
    assert qr_cli.attach(network, "se") is network


def test_an_sd2_folder_is_loaded_and_adapted(sd21):
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(sd21, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    assert json.loads((sd21 / "unet" / "config.json").read_text())["cross_attention_dim"] == 1024
    bare = draw(pipe)
    with attach(pipe, make_adapter(1024), eta=1.0):
        assert not np.array_equal(draw(pipe), bare)
