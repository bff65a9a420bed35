"""Official checkpoints, adapter folders, and how an adapter is found."""

import json
import logging
import pickle

import pytest
import torch
from bases import make_adapter

from qr_cli.errors import UsageError, WeightsError
from qr_cli.generate.adapter import SURAdapter
from qr_cli.generate.folder import find_adapter, save_adapter
from qr_cli.generate.official import from_official, load_official


def official(width, ffn=2048, device=None):
    """Return a state dict as the authors' module has: 34 tensors in use and 14 dead ones."""
    with torch.device(device or "cpu"):
        adapter = SURAdapter(width, ffn_dim=ffn)
        layer = torch.nn.TransformerEncoderLayer(width, 8, ffn)
        value = torch.nn.Linear(width, width)
    state = dict(adapter.state_dict())
    state |= {f"encoder_layer.{k}": v for k, v in layer.state_dict().items()}
    state |= {f"attention.value_layer.{k}": v for k, v in value.state_dict().items()}
    return state, adapter


@pytest.mark.parametrize("width", [768, 1024])
def test_of_48_tensors_34_are_kept(width):
    state, _ = official(width, device="meta")
    adapter = from_official(state, eta=0.1)
    assert (len(state), len(adapter.state_dict())) == (48, 34)
    assert adapter.config.hidden_size == width and adapter.config.ffn_dim == 2048
    assert adapter.config.attention_axis == "batch" and adapter.config.eta == 0.1


def test_an_official_file_computes_what_it_did(tmp_path):
    state, adapter = official(8, ffn=16)
    torch.nn.init.normal_(adapter.fc.weight)
    file = tmp_path / "adapterw0.3" / "adapter_checkpoint1000.pt"
    file.parent.mkdir()
    torch.save(state, file)
    loaded, x = load_official(file, attention_axis="token"), torch.randn(2, 4, 8)
    assert loaded.config.eta == 0.3 and not loaded.training
    torch.testing.assert_close(loaded(x), adapter.eval()(x, 0.3), rtol=0, atol=0)
    assert find_adapter(file, eta=0.5, attention_axis="none").config.attention_axis == "none"


def test_without_an_eta_anywhere_it_must_be_said(tmp_path):
    file = tmp_path / "FILE.pt"
    torch.save(official(8, ffn=16)[0], file)
    with pytest.raises(UsageError, match="eta is not stored in FILE.pt") as fault:
        load_official(file)
    assert fault.value.hint == "--eta 0.1 (the authors' run script)"
    assert load_official(file, 0.2).config.eta == 0.2


def test_it_says_that_a_checkpoint_belongs_to_one_base(tmp_path, caplog):
    file = tmp_path / "a.pt"
    torch.save(official(8, ffn=16)[0], file)
    with caplog.at_level(logging.INFO):
        load_official(file, 0.1)
    assert "belongs to the base model it was trained for" in caplog.text
    assert "--attention-axis none" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("fc.bias"), "missing fc.bias"),
        (lambda s: s.update(more=torch.zeros(1)), "unexpected more"),
        (lambda s: s.update({"fc.bias": torch.zeros(9)}), r"fc.bias of shape \(9,\), not \(8,\)"),
        (lambda s: s.pop("fc.weight"), "is no SUR-adapter"),
        (lambda s: s.clear(), "is no SUR-adapter: no tensors"),
    ],
)
def test_keys_that_do_not_fit_are_named(tmp_path, change, message):
    state, _ = official(8, ffn=16)
    change(state)
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(WeightsError, match=message):
        load_official(tmp_path / "a.pt", 0.1)


def test_five_faults_are_named_and_the_rest_counted():
    state, _ = official(8, ffn=16)
    state |= {f"extra.{i}": torch.zeros(1) for i in range(8)}
    with pytest.raises(WeightsError, match=r"unexpected extra\.4 and 3 more$"):
        from_official(state, eta=0.1)


class Bomb:
    def __reduce__(self):
        return (open, ("exploded", "w"))


def test_what_is_more_than_tensors_is_not_run(tmp_path):
    torch.save({"a": Bomb()}, tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(pickle.dumps([1, 2]))
    torch.save([torch.zeros(1)], tmp_path / "c.pt")
    (tmp_path / "d.pt").write_bytes(b"PK\x03\x04 nothing")
    for name, message in (("a", "refused to unpickle"), ("d", "refused to unpickle")):
        with pytest.raises(WeightsError, match=message):
            load_official(tmp_path / f"{name}.pt", 0.1)
    for name in "bc":
        with pytest.raises(WeightsError):
            load_official(tmp_path / f"{name}.pt", 0.1)
    with pytest.raises(WeightsError, match="no such file"):
        load_official(tmp_path / "e.pt", 0.1)
    assert not (tmp_path / "exploded").exists()


def test_a_folder_gives_back_the_adapter_and_diffusers_reads_it_too(tmp_path):
    adapter = make_adapter(16, eta=0.7, attention_axis="none", base_name="tiny")
    save_adapter(adapter, tmp_path / "a", card="# card\n", training={"mu": torch.ones(2, 3)})
    x = torch.randn(2, 4, 16)
    for found in (find_adapter(tmp_path / "a"), SURAdapter.from_pretrained(tmp_path / "a").eval()):
        assert torch.equal(found(x).out, adapter(x).out)
        assert (found.config.eta, found.config.attention_axis) == (0.7, "none")
        assert found.config.base_name == "tiny"
    names = sorted(str(p.relative_to(tmp_path / "a")) for p in (tmp_path / "a").rglob("*.*"))
    assert names == [
        "README.md",
        "config.json",
        "diffusion_pytorch_model.safetensors",
        "training/state.safetensors",
    ]


def test_a_float16_folder_is_computed_in_float32(tmp_path):
    adapter = make_adapter(16)
    save_adapter(adapter, tmp_path / "a", card="", dtype=torch.float16)
    found, x = find_adapter(tmp_path / "a"), torch.randn(2, 4, 16)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found(x).out, adapter(x).out, atol=1e-3, rtol=0)


def test_a_run_folder_is_found_by_its_adapter(tmp_path):
    save_adapter(make_adapter(16), tmp_path / "run" / "adapter", card="")
    assert find_adapter(tmp_path / "run", attention_axis="batch").config.attention_axis == "batch"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "config.json").write_text("{"), "holds no adapter"),
        (lambda f: (f / "diffusion_pytorch_model.safetensors").write_bytes(b""), "holds no"),
        (
            lambda f: (f / "config.json").write_text(json.dumps({"hidden_size": 32})),
            "do not fit its config",
        ),
        (lambda f: (f / "config.json").unlink(), r"no config.json, no checkpoint"),
    ],
)
def test_a_damaged_folder_is_told_so(tmp_path, spoil, message):
    save_adapter(make_adapter(16), tmp_path / "a", card="")
    spoil(tmp_path / "a")
    with pytest.raises(WeightsError, match=message):
        find_adapter(tmp_path / "a")


def test_a_name_that_is_nothing_is_told_so():
    with pytest.raises(WeightsError, match="there is no adapter nowhere"):
        find_adapter("nowhere")


@pytest.mark.data
def test_the_published_vector_file_reads_as_tensors_only(surd):
    vectors = torch.load(surd / "prompt2vec" / "13B" / "39.pt", weights_only=True)
    ((text, vector),) = vectors.items()
    assert isinstance(text, str) and vector.shape == (5120,) and vector.dtype == torch.float16
    assert float(vector.float().norm()) == pytest.approx(304, abs=0.5)
