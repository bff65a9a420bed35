"""The small model: shapes, gradients, its stem, its words, its weights as a file."""

import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from qr_cli.errors import DataError, WeightsError
from qr_cli.geo import weights
from qr_cli.geo.inputs import picture, words
from qr_cli.geo.losses import figure_loss
from qr_cli.geo.marks import NAMES, marks
from qr_cli.geo.network import Network
from qr_cli.geo.program import execute
from qr_cli.geo.records import Problem
from qr_cli.geo.samples import Example, packs, shown
from qr_cli.geo.synth import FAMILIES, make
from qr_cli.geo.tiny import LETTERS, PATCHES, Stem, Tiny
from qr_cli.geo.vocab import LIMIT, Vocabulary
from qr_cli.geo.weights import card

ROOT = Path(__file__).parents[2]
CLASSES = {name: f.relations for name, f in FAMILIES.items() if f.relations}


@pytest.fixture
def tiny():
    torch.manual_seed(0)
    return Tiny(Vocabulary(), classes=CLASSES, marks=len(NAMES), dropout=0.0)


def batch(count=4):
    samples = make(count, seed=1, mix={"diagram": 1.0})
    examples = [
        Example(
            words(s.problem).source, s.problem.program.split(), s.image, (s.family, s.relation),
            marks(s.figure, s.look),
        )
        for s in samples
    ]  # fmt: skip
    return examples


def test_scores_have_a_row_per_word_and_every_weight_a_gradient(tiny):
    (pack,) = packs(batch(), tiny.vocabulary, tiny.families, (200, 72))
    read = tiny(pack.words, pack.before, pack.pictures)
    assert read.scores.shape == (*pack.before.shape, len(tiny.vocabulary))
    assert read.relations.shape == (4, sum(CLASSES.values()))
    assert read.marks.shape == (4, PATCHES, len(NAMES)) == pack.marks.shape
    loss = read.scores.logsumexp(-1).sum() + read.relations.square().sum() + read.marks.sum()
    loss.backward()
    for name, parameter in tiny.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_the_full_vocabulary_gives_the_size_that_ships():
    model = Tiny(Vocabulary((*Vocabulary().words, *(f"word{i}" for i in range(LIMIT - 317)))))
    assert len(model.vocabulary) == LIMIT
    assert 2 * sum(p.numel() for p in model.parameters()) < 3_000_000


def test_no_diagram_is_one_row_and_changes_with_the_word_for_it(tiny):
    source = torch.tensor([tiny.vocabulary.ids(["A", "B"])])
    states, hidden = tiny.eval().encode(source)
    assert states.shape == (1, 3, 128) and hidden.shape == (1, 1, 1, 3)
    seen, _ = tiny.encode(source, torch.zeros(1, 112, 112))
    assert seen.shape == (1, 2 + PATCHES, 128)


def test_letters_are_counted_by_first_appearance(tiny):
    known = tiny.vocabulary
    rows = [known.ids("angle C A = A B′ .".split()), known.ids("B B find Z C A′ <pad>".split())]
    other = LETTERS
    assert tiny.orders(torch.tensor(rows)).tolist() == [
        [other, 0, 1, other, 1, 2, other],
        [0, 0, other, 1, 2, 3, other],
    ]


def test_renaming_letters_changes_nothing_but_their_names(tiny):
    tiny.eval()
    with torch.no_grad():
        tiny.shared.weight[tiny.letters >= 0] = 0.0  # nothing but the order is left
        one, two = (
            tiny.encode(torch.tensor([tiny.vocabulary.ids(text.split())]))[0]
            for text in ("angle C A = A B", "angle X Q = Q R")
        )
    assert torch.equal(one, two)


def test_no_weight_of_queries_and_keys_makes_words_forget_their_places(tiny):
    (pack,) = packs(batch(), tiny.vocabulary, tiny.families, (200, 72))
    plain, _ = tiny.encode(pack.words)
    for block in tiny.encoder.blocks:
        block.layer[0].SelfAttention.q.weight.data *= 100
        block.layer[0].SelfAttention.k.weight.data *= 100
    assert torch.allclose(tiny.encode(pack.words)[0], plain, atol=1e-3)


def test_without_vision_a_picture_is_not_looked_at():
    model = Tiny(Vocabulary(), vision=False).eval()
    source = torch.tensor([model.vocabulary.ids(["A", "B"])])
    assert torch.equal(model.encode(source)[0], model.encode(source, torch.ones(1, 112, 112))[0])


def test_folding_the_batch_norms_changes_no_patch():
    torch.manual_seed(0)
    stem = Stem().double()
    for _ in range(3):
        stem(torch.rand(2, 1, 112, 112, dtype=torch.float64))
    stem.eval()
    x = torch.rand(2, 1, 112, 112, dtype=torch.float64)
    before = stem(x)
    assert before.shape == (2, 49, 96)
    stem.fold()
    stem.fold()  # twice is once
    torch.testing.assert_close(stem(x), before, rtol=0, atol=1e-10)


def test_a_handful_of_problems_is_learnt_by_heart(tiny):
    made = packs(batch(3), tiny.vocabulary, tiny.families, (200, 72))
    optimizer = torch.optim.AdamW(tiny.parameters(), lr=2e-3)
    losses = []
    for _ in range(25):
        (pack,) = made
        read = tiny(pack.words, pack.before, pack.pictures)
        loss = torch.nn.functional.cross_entropy(
            read.scores.flatten(0, 1), pack.after.flatten(), ignore_index=-100
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 10


def test_the_figure_loss_compares_the_classes_of_one_family():
    scores = torch.tensor([[9.0, 0.0, 1.0, 3.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
    told = torch.tensor([[2, 2, 1], [-1, -1, -1]])  # classes 2 and 3 are the family's
    loss, hits = figure_loss(scores, told)
    assert loss.item() == pytest.approx(np.log(1 + np.exp(-2.0)), abs=1e-6)
    assert hits.item() == 1


def test_patches_know_what_stands_in_them():
    sample = make(1, seed=4, mix={"diagram": 1.0}, families=["which-right-angle"])[0]
    found = marks(sample.figure, sample.look)
    assert found.shape == (49, len(NAMES))
    letters = {name for name in sample.figure.points if name.isupper()}
    for letter in letters:
        assert found[:, NAMES.index(letter)].sum() == 1  # its name is written once
        assert found[:, NAMES.index(f"point {letter}")].sum() == 1
    assert found[:, NAMES.index("square")].sum() == 1


def test_packs_hold_every_problem_once_and_pad_little():
    some = make(30, seed=2, mix={"calculation": 1.0, "proof": 1.0}, image=False)
    examples = [
        Example(words(s.problem).source, (s.problem.proof or s.problem.program).split())
        for s in some
    ]
    known = Vocabulary()
    made = packs(examples, known, {}, (200, 72))
    assert sum(len(p.words) for p in made) == 30
    assert all(p.pictures is None and p.marks is None for p in made)
    rows = [tuple(w for w in row.tolist() if w >= 0) for p in made for row in p.after]
    assert sorted(rows) == sorted((*known.ids(e.target), known.number["</s>"]) for e in examples)
    (cut,) = packs(examples[:3], known, {}, (5, 2))
    assert cut.words.shape == (3, 5) and cut.after.shape == (3, 3)


def test_ink_is_one_and_paper_is_zero():
    grey = np.full((112, 112), 255, np.uint8)
    grey[0, 0] = 0
    ink = shown([grey])
    assert ink.shape == (1, 112, 112) and ink[0, 0, 0] == 1 and ink.sum() == 1
    assert shown([]) is None


# what is read ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("In △PQR, ∠P=40°, PQ=PR. Find ∠Q.",
         "calculation : in triangle P Q R , angle P = N_0 , P Q = P R . find angle Q ."),
        ("∠A = 90°, AB = 3, AC = 4", "calculation : angle A = N_0 <v90> , A B = N_1 , A C = N_2"),
        ("AB=2√3 and angle 1 = 30", "calculation : A B = N_0 and angle 1 = N_1 <v30>"),
        ("A'B' = 5", "calculation : A′ B′ = N_0"),
    ],
)  # fmt: skip
def test_calculations_are_read_as_words(text, expected):
    assert " ".join(words(Problem("1", "calculation", text)).source) == expected


def test_a_slot_text_with_its_numbers_counts_more_than_the_text():
    found = words(Problem("1", "calculation", "x 7 7", slot_text="x N_0", numbers=(90.0,)))
    assert (found.source[2:], found.numbers) == (["x", "N_0", "<v90>"], (90.0,))


def test_elements_stand_with_their_slots():
    listed = Problem("1", "proving", "Given AB ≅ CD. Prove that ∠A ≅ ∠C.", elements=("A B", "∠ A"))
    assert " ".join(words(listed).source) == (
        "proving : given A B ≅ C D . prove that ∠ A ≅ ∠ C . elements : E_0 A B E_1 ∠ A"
    )
    assert words(listed).kinds == ("segment", "angle")
    alone = words(Problem("1", "proving", "Given AB ∥ CD and AB ≅ CD. Prove that △ABC ≅ △CDA."))
    assert "triangle" in alone.kinds and len(alone.elements) <= 24


def test_more_than_the_model_knows_is_refused():
    many = "numbers " + " ".join(f"{i}1" for i in range(1, 18))
    with pytest.raises(DataError, match="17 numbers, this model knows 16") as fault:
        words(Problem("1", "calculation", many))
    assert "--solver rules" in fault.value.hint
    with pytest.raises(DataError, match="the text has 303 words, this model reads 200"):
        words(Problem("1", "calculation", "so " * 300 + "5"))


def png(pixels):
    from io import BytesIO

    out = BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def test_pictures_of_users_become_ink_on_white():
    wide = np.full((50, 200), 200, np.uint8)
    wide[20:30, 50:150] = 40
    seen = picture(png(wide))
    assert seen.shape == (112, 112) and seen.dtype == np.uint8
    assert (seen[:42] == 255).all() and (seen[-42:] == 255).all()  # centred, white around
    assert seen[56, 56] < 30 and seen[44, 5] > 225  # stretched to full contrast
    dark = picture(png(255 - wide))
    assert np.abs(dark.astype(int) - seen).max() <= 2  # light lines on black are turned over
    blank = picture(png(np.full((30, 30), 255, np.uint8)))
    assert (blank == 255).all()


# weights -----------------------------------------------------------------------------------------


def test_packed_weights_load_under_half_the_size_and_answer_alike(tiny, tmp_path):
    (pack,) = packs(batch(), tiny.vocabulary, tiny.families, (200, 72))
    for _ in range(2):
        tiny(pack.words, pack.before, pack.pictures)  # batch norms see something
    tiny.eval()
    with torch.no_grad():
        before = tiny(pack.words, pack.before, pack.pictures).scores
        size = weights.pack(tiny, card(tiny), tmp_path / "small.safetensors")
        told = json.loads((tmp_path / "small.json").read_text("utf-8"))
        model = weights.build(told, weights._read(tmp_path / "small.safetensors"), "small")
        after = model(pack.words, pack.before, pack.pictures).scores
    assert size < 3_000_000 and told["folded"] and told["classes"] == {}
    torch.testing.assert_close(after, before, rtol=0.02, atol=0.02)  # float16


def test_checkpoints_of_another_task_and_unknown_names_are_refused(tmp_path):
    (tmp_path / "model.json").write_text('{"task": "attention"}')
    with pytest.raises(WeightsError, match="checkpoint is attention, expected geo"):
        weights.load_model(str(tmp_path))
    with pytest.raises(WeightsError, match="no such name or folder, got geoformer-tny"):
        weights.load_model("geoformer-tny")
    (tmp_path / "model.json").write_text('{"task": "geo", "preset": "geoformer-tiny"}')
    with pytest.raises(WeightsError, match="no such file"):
        weights.load_model(str(tmp_path))


def test_words_of_another_vocabulary_do_not_fit(tiny, tmp_path):
    told = card(tiny) | {"words": list(tiny.vocabulary.words) + ["more"]}
    with pytest.raises(WeightsError, match="does not fit this model"):
        weights.build(told, tiny.state_dict(), "x")


# what ships --------------------------------------------------------------------------------------

SHIPPED = weights.SHIPPED / f"{weights.DEFAULT}.safetensors"


def test_the_shipped_file_is_small_and_its_card_says_what_was_measured():
    spec = spec_from_file_location("geo_card", ROOT / "benchmarks" / "geo_card.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    told = json.loads(SHIPPED.with_suffix(".json").read_text("utf-8"))
    size = SHIPPED.stat().st_size
    assert size < 3_000_000
    assert SHIPPED.with_suffix(".md").read_text("utf-8") == module.card(told, size)
    assert told["figures"]["synth"] and told["figures"]["diagram"]


def test_the_shipped_model_solves_what_its_families_hold():
    model, card = weights.load_model(weights.DEFAULT)
    assert not model.training and card["folded"]
    problem = Problem("1", "calculation", "In triangle ABC, ∠A = 40°, ∠B = 60°. Find ∠C.")
    best = Network(model, "x", card).say([problem])[0].guesses[0]
    assert (
        best.text == "g_minus C_3 N_0 g_minus V_0 N_1" or execute(best.text, [40, 60]).value == 80
    )
