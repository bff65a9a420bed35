"""Tables and splits of the tiny world: what a narrative may not say, what was never trained."""

import hashlib
import json
import re
from itertools import product
from pathlib import Path

import pytest
import torch

from qr_cli.generate import tiny, world
from qr_cli.generate.digits import load_digits, paint, picture, tint_table

GOLDEN = Path(__file__).parents[1] / "golden" / "generate-world.json"
SIZES = {"train": 2400, "seen": 240, "recombined": 480, "unseen": 480}


def every_narrative():
    """Return all 7,680 + 480 sentences the tables can make."""
    trained = {
        frame.format(n=n, o=o)
        for digit, tint in product(range(10), world.TINTS)
        for n, o in product(world.DIGIT_PHRASES[digit], world.TINT_PHRASES[tint])
        for frame in world.FRAMES
    }
    return trained, {n.text for n in world.narratives("unseen")}


def words(text):
    return re.findall(r"\w+", text)


def test_no_narrative_names_a_digit_or_a_tint():
    trained, unseen = every_narrative()
    assert (len(trained), len(unseen)) == (7680, 480)
    said = {word for text in trained | unseen for word in words(text)}
    assert not said & {*world.DIGITS, *world.TINTS}


@pytest.fixture(scope="module")
def tokenizer():
    return tiny.tokenizer()


def test_every_sentence_fits_and_every_word_of_it_is_one_token(tokenizer):
    trained, unseen = every_narrative()
    prompts = {row["prompt"] for split in world.SPLITS for row in world.surd_rows(split)}
    texts = sorted(trained | unseen | prompts)
    assert max(map(len, tokenizer(texts)["input_ids"])) <= tiny.TOKENS
    lone = sorted({word for text in texts for word in words(text)})
    assert [w for w in lone if len(tokenizer.tokenize(w)) != 1] == []


def test_any_text_can_be_tokenized(tokenizer):
    assert tokenizer.unk_token not in tokenizer.tokenize("Ünïcode 漢字 \U0001f600 x_y!")
    assert tokenizer.tokenize("A RED   digit") == tokenizer.tokenize("a red digit")


@pytest.mark.parametrize("split", world.SPLITS)
def test_a_split_has_its_size_and_no_sentence_twice(split):
    texts = [narrative.text for narrative in world.narratives(split)]
    assert len(texts) == len(set(texts)) == SIZES[split]


def pairs(split):
    """Return the (digit phrase, tint phrase) pairs of a split."""
    found = set()
    for text, digit, tint in world.narratives(split):
        for n, o in product(world.DIGIT_PHRASES[digit], world.TINT_PHRASES[tint]):
            if text in {frame.format(n=n, o=o) for frame in world.FRAMES}:
                found.add((n, o))
    return found


def test_recombined_holds_trained_phrases_in_pairs_never_trained():
    trained, held = pairs("train"), pairs("recombined")
    assert not trained & held
    assert {n for n, _ in held} <= {n for n, _ in trained}
    assert {o for _, o in held} <= {o for _, o in trained}


def test_recombined_has_eight_narratives_of_every_digit_and_tint():
    cells = [(digit, tint) for _, digit, tint in world.narratives("recombined")]
    assert {cells.count(cell) for cell in product(range(10), world.TINTS)} == {8}


def test_seen_was_trained_and_unseen_shares_no_phrase():
    trained = {n.text for n in world.narratives("train")}
    assert {n.text for n in world.narratives("seen")} <= trained
    known = {p for group in world.DIGIT_PHRASES for p in group}
    known |= {p for group in world.TINT_PHRASES.values() for p in group}
    assert not known & {*world.UNSEEN_DIGIT_PHRASES, *world.UNSEEN_TINT_PHRASES.values()}


def test_the_prompt_of_a_row_says_what_its_label_says():
    for row in world.surd_rows("recombined"):
        head, *tags = row["prompt"].split(", ")
        assert head == world.keyword_head(**row["label"])
        assert set(tags) <= set(world.TAGS) and len(tags) == len(set(tags)) <= 3


def test_the_rows_are_those_recorded(request):
    found = {
        split: hashlib.sha256(json.dumps(world.surd_rows(split)).encode()).hexdigest()
        for split in world.SPLITS
    }
    if request.config.getoption("--update-golden"):
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    assert found == json.loads(GOLDEN.read_text("utf-8"))


def test_the_digits_are_those_of_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets")
    grey, labels = load_digits()
    theirs = datasets.load_digits()
    torch.testing.assert_close(grey * 16, torch.tensor(theirs.images, dtype=torch.float32))
    assert labels.tolist() == theirs.target.tolist()


def test_judges_and_generator_share_no_digit():
    whole = load_digits()
    judges, generator = load_digits("judges"), load_digits("generator")
    assert (len(judges.labels), len(generator.labels)) == (599, 1198)
    both = torch.cat([judges.grey, generator.grey])
    torch.testing.assert_close(both.sum(), whole.grey.sum())
    torch.testing.assert_close(judges.grey[1], whole.grey[3])


def test_a_stored_picture_gives_back_its_digit_up_to_8_bit_rounding():
    pixels = picture(7, "purple", draw=torch.Generator().manual_seed(0))
    assert (pixels.shape, pixels.dtype) == ((64, 64, 3), "uint8")
    values = 2 * torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255 - 1
    latent = tiny.TinyVAE().encode(values).latent_dist.mode()
    grey, labels = load_digits("generator")
    own = 2 * paint(grey[labels == 7], tint_table()[4].expand((labels == 7).sum(), 3)) - 1
    assert (own - latent).abs().amax((1, 2, 3)).min() <= 1.001 / 255  # half a level
