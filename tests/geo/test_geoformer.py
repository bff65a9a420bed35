"""Geoformer in the authors' layout: T5's forward, their names, boxes, pictures and files."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from qr_cli.errors import WeightsError
from qr_cli.geo import grammar, official
from qr_cli.geo.geoformer import Geoformer, picture, picture_size
from qr_cli.geo.pieces import PieceRules, Pieces
from qr_cli.geo.records import Problem
from qr_cli.geo.stack import FAR, Sizes, buckets
from qr_cli.geo.tiny import boxes
from qr_cli.geo.vocab import END, Vocabulary

SMALL = Sizes(300, 32, 8, 64, 2, 4)


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return Geoformer(SMALL, depths=(1, 1, 1, 1)).eval()


def test_it_has_the_parameters_and_names_of_the_authors():
    with torch.device("meta"):
        model = Geoformer()
    assert sum(p.numel() for p in model.parameters()) == 267_040_320
    assert sum(p.numel() for p in model.parameters() if not p.requires_grad) == 42_500_160
    names = set(model.state_dict())
    for name in (
        "shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight",
        "lm_head.weight", "encoder.visual_embedding.feat_embedding.0.bias",
        "encoder.visual_embedding.absolute_vis_pos_embedding.1.weight",
        "encoder.visual_embedding.img_order_embedding.weight",
        "encoder.visual_embedding.obj_order_embedding.weight",
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
        "decoder.block.11.layer.1.EncDecAttention.o.weight",
        "decoder.block.11.layer.2.DenseReluDense.wo.weight",
        "encoder.block.11.layer.1.layer_norm.weight", "decoder.final_layer_norm.weight",
        "resnet.0.weight", "resnet.1.running_mean", "resnet.7.2.conv3.weight",
    ):  # fmt: skip
        assert name in names
    assert "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight" not in names


@pytest.fixture(scope="module")
def t5():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(1)
    config = transformers.T5Config(
        vocab_size=300, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4,
        feed_forward_proj="relu", tie_word_embeddings=True,
    )  # fmt: skip
    return transformers.T5ForConditionalGeneration(config).eval()


def test_the_text_alone_is_read_as_by_t5(t5):
    model = Geoformer(SMALL, depths=(1, 1, 1, 1)).eval()
    missing = model.take(t5.state_dict())
    assert all("visual" in name or "resnet" in name for name in missing)
    words = torch.randint(1, 300, (3, 150))  # far enough for every bucket
    words[1, 30:] = 0
    targets = torch.randint(1, 300, (3, 12))
    targets[:, 0] = 0
    with torch.no_grad():
        told = t5(
            input_ids=words, attention_mask=(words != 0).long(), decoder_input_ids=targets
        ).logits
        torch.testing.assert_close(model(words, targets).scores, told, rtol=0, atol=1e-5)
        states, hidden = model.encode(words)
        cache, steps = model.begin(states, hidden), []
        for at in range(12):
            steps.append(model.step(targets[:, at : at + 1], cache))
        torch.testing.assert_close(torch.cat(steps, 1), told, rtol=0, atol=1e-5)


def test_masked_patches_change_nothing_and_seen_ones_do(small):
    words = torch.randint(1, 300, (2, 9))
    pictures = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        alone, _ = small.encode(words)
        seen, _ = small.encode(words, pictures)
        assert seen.shape == (2, 9 + 49, 32)
        assert (seen[:, :9] - alone).abs().max() > 1e-3
        x = torch.cat(
            (small.shared(words), small.encoder.visual_embedding(small.patches(pictures))), 1
        )
        at = torch.arange(9)
        bias = torch.nn.functional.pad(small.encoder.relative(at, at), (0, 49, 0, 49))
        hidden = torch.zeros(2, 1, 1, 58)
        hidden[..., 9:] = FAR
        masked = small.encoder(x, bias[None] + hidden)
        torch.testing.assert_close(masked[:, :9], alone, rtol=0, atol=1e-5)


def test_relative_bias_is_zero_wherever_a_patch_is(small):
    held = {}

    def keep(module, args):
        held["bias"] = args[1]

    hook = small.encoder.register_forward_pre_hook(keep)
    with torch.no_grad():
        small.encode(torch.randint(1, 300, (1, 7)), torch.rand(1, 3, 224, 224))
    hook.remove()
    bias = held["bias"][0]
    assert (bias[:, 7:, :] == 0).all() and (bias[:, :, 7:] == 0).all()
    assert (bias[:, :7, :7] != 0).any()


def test_buckets_are_those_of_t5():
    far = torch.arange(-200, 201)
    both = buckets(far, both=True)
    assert both[200].item() == 0 and both.max().item() == 31
    assert both[201:208].tolist() == [17, 18, 19, 20, 21, 22, 23]  # keys to the right: + 16
    assert both[199 - 7 : 200].tolist() == [8, 7, 6, 5, 4, 3, 2, 1]
    past = buckets(far, both=False)
    assert past[200:].eq(0).all() and past.max().item() == 31
    assert past[200 - 15].item() == 15 and past[0].item() == 31


def test_boxes_lie_row_by_row_and_the_official_area_is_theirs():
    ours, theirs = boxes(), boxes(official=True)
    assert ours.shape == theirs.shape == (49, 5)
    torch.testing.assert_close(ours[8, :4], torch.tensor([1, 1, 2, 2]) / 7)
    assert ours[:, 4].unique().tolist() == pytest.approx([1 / 49])
    row, column = 5, 2
    assert theirs[row * 7 + column, 4].item() == pytest.approx(((row - column) / 7) ** 2)


@pytest.mark.parametrize(
    ("size", "scaled"),
    [
        ((108, 50), (224, 103)),
        ((116, 50), (223, 96)),
        ((224, 224), (224, 224)),
        ((50, 116), (96, 223)),
    ],
)
def test_pictures_are_scaled_as_the_authors_do(size, scaled):
    assert picture_size(*size) == scaled


def test_a_picture_is_pasted_at_the_top_left_onto_white():
    black = picture(np.zeros((50, 108), np.uint8))
    assert black.shape == (3, 224, 224)
    assert black[:, :103, :224].max() == 0 and black[:, 103:].min() == 1
    colors = np.zeros((10, 10, 3), np.uint8)
    colors[..., 2] = 255
    assert picture(colors)[:, 0, 0].tolist() == [0, 0, 1]  # channels keep their order


def test_the_resnet_stays_in_evaluation_unless_theirs_is_asked_for():
    model = Geoformer(SMALL, depths=(1, 1, 1, 1))
    assert not model.train().resnet[1].training and model.encoder.training
    theirs = Geoformer(SMALL, depths=(1, 1, 1, 1), vision_bn="official").train()
    assert theirs.resnet[1].training
    assert not any(p.requires_grad for p in theirs.resnet.parameters())


def theirs(model):
    """Return weights as the authors' files name them."""
    state = {}
    for name, value in model.state_dict().items():
        older = f"vis_{name}" if name.startswith("encoder.") else name
        state[f"module.{older}"] = value
    name = "module.decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    return state | {name: torch.zeros(32, 4)}


def test_a_file_of_the_authors_loads(small, tmp_path):
    torch.save({"model": theirs(small)}, tmp_path / "best.pth")
    other = Geoformer(SMALL, depths=(1, 1, 1, 1)).eval()
    assert other.take(official.read_state(tmp_path / "best.pth")) == []
    words, targets = torch.randint(1, 300, (1, 6)), torch.zeros(1, 3, dtype=torch.long)
    pictures = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(
            other(words, targets, pictures).scores, small(words, targets, pictures).scores
        )


def test_a_strange_weight_is_named(small):
    with pytest.raises(ValueError, match="decoder.nose is no weight"):
        Geoformer(SMALL, depths=(1, 1, 1, 1)).take({"decoder.nose": torch.zeros(1)})


class Danger:
    def __reduce__(self):
        return (print, ("run",))


def test_a_file_that_would_run_code_is_refused(tmp_path):
    torch.save({"w": Danger()}, tmp_path / "bad.pth")
    with pytest.raises(WeightsError, match="cannot be read safely; save it again as safetensors"):
        official.read_state(tmp_path / "bad.pth")
    (tmp_path / "cut.safetensors").write_bytes(b"\x00" * 20)
    with pytest.raises(WeightsError, match="cannot be read"):
        official.read_state(tmp_path / "cut.safetensors")


def test_a_folder_without_weights_or_tokeniser_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="geoformer needs --weights DIR with model.safetensors"):
        official.load_geoformer(str(tmp_path))
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="spiece.model"):
        official.load_geoformer(str(tmp_path))


def test_problems_are_fed_as_the_authors_feed_them():
    proof = Problem("1", "proving", "Given A B ≅ C D .", elements=("A B", "∠ A B C"), proof="R_14")
    assert " ".join(official.words(proof).source) == (
        "Proving: Given A B ≅ C D . (Elements: A B , ∠ A B C , )"
    )
    sum_ = Problem("2", "calculation", "In △PQR, ∠P=40, then ∠Q=()")
    assert " ".join(official.words(sum_).source) == (
        "Calculation: In triangle P Q R , angle P = N_0 , then angle Q = ()"
    )


class Letters:
    """A tokeniser of single characters; a word starts with a leading space."""

    eos_token_id, pad_token_id = 1, 0

    def encode(self, text, *, add_special_tokens):
        return [ord(c) % 256 + 2 for c in " " + " ".join(text.split())]

    def decode(self, ids, *, skip_special_tokens):
        return "".join(chr(i - 2) for i in ids if i > 1)


@pytest.mark.parametrize(
    ("target", "may"),
    [
        ("g_half N_1", True), ("g_half N_10 g_add N_1 V_0", True), ("g_half N_12", False),
        ("g_half", False), ("N_1", False), ("g_halfN_1", False),
    ],
)  # fmt: skip
def test_pieces_spell_whole_words_of_the_grammar_only(target, may):
    known, pieces = Vocabulary(), Pieces(Letters(), 300)
    words = grammar.Grammar(grammar.program_classes(known, 11)[None], ["program"])
    rules = PieceRules(words, known, lambda w: pieces.ids([w]), size=300, end=pieces.number[END])
    at, good = rules.start[:, None], True
    for piece in (*pieces.ids(target.split()), 1):
        good = good and rules.mask(at)[0, 0, piece].item() == 0
        at = rules.advance(at, torch.tensor([[piece]]))
    assert good == may
    assert pieces.text(pieces.ids(target.split())) == target


def test_sizes_come_from_the_folder(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"d_model": 8}))
    with pytest.raises(WeightsError, match="is no T5"):
        official._sizes(tmp_path, 0.1)
