"""Normalisation, clean-up, slots and options: the tables, and sentences written beforehand."""

import json
import math
from pathlib import Path

import pytest

from qr_cli.geo.slotting import option, slots
from qr_cli.geo.text import clean, normalize

HERE = Path(__file__).parent
SENTENCES = [json.loads(line) for line in (HERE / "user_text.jsonl").open(encoding="utf-8")]

NORMALIZED = [
    ("In △PQR, ∠P=N_0, PQ=PR, then ∠Q=()",
     "In triangle P Q R , angle P = N_0 , P Q = P R , then angle Q = ()"),
    ("MN∥KL; ∠1=N_0, find ∠2.", "M N parallel K L ; angle 1 = N_0 , find angle 2 ."),
    ("the side is 3.75, AB/CD=N_0", "the side is 3 . 75 , A B / C D = N_0"),
    ("Rt△ABC", "Rt triangle A B C"),
    ("In RtΔABC", "In R t Δ A B C"),
    ("(AB)", "( A B )"),
    ("N_0AB", "N_0AB"),
    (r"\frac{AB}{CD}", r"\frac{AB}{CD}"),
    ("HTTP x", "H T T P x"),
    ("∠AOB=120°", "angle A O B = 120°"),
    ("KL≠MN, x≈N_1", "K L not-equal M N , x approximate N_1"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), NORMALIZED)
def test_the_authors_normalisation(text, wanted):
    assert normalize(text) == wanted


@pytest.mark.parametrize("sentence", SENTENCES, ids=lambda s: s["id"])
def test_cleaning_twice_changes_nothing(sentence):
    once = clean(sentence["text"])
    assert clean(once) == once


def read(sentence, mode):
    wanted = (
        sentence["numbers"] if mode == "compound" else sentence.get("official", sentence["numbers"])
    )
    found = slots(sentence["text"], mode=mode).numbers
    return len(found) == len(wanted) and all(map(math.isclose, found, wanted))


def test_at_least_150_sentences_and_nineteen_in_twenty_are_read():
    assert len(SENTENCES) >= 150
    for mode in ("compound", "official"):
        right = sum(read(s, mode) for s in SENTENCES)
        assert right >= 0.95 * len(SENTENCES), mode


@pytest.mark.parametrize(
    ("text", "compound", "official"),
    [
        ("∠A=40°, AB=5cm", [40, 5], [40, 5]),
        ("AB = 2√3 cm, tan A = 3/4", [2 * math.sqrt(3), 0.75], [2, 3, 3, 4]),
        ("AD:DB = 2:3, DE = 4.5", [2, 3, 4.5], [2, 3, 4.5]),
        ("angle 1 = 50, AB = 2 DE, angle E = 16", [50, 16], [50, 16]),
        ("l_1 ∥ l_2, area 12 cm^2, sin37° ≈ 0.6", [12, 0.6], [12, 0.6]),
        ("D, E, F are 3 tangent points, a 30° angle", [3, 30], [3, 30]),
    ],
)
def test_the_table_of_slots(text, compound, official):
    assert slots(text).numbers == pytest.approx(compound)
    assert slots(text, mode="official").numbers == official


def test_units_are_cut_off_and_remembered():
    found = slots("∠A=40°, AB=5cm, area 12 cm^2")
    assert [s.unit for s in found.slots] == ["°", "cm", "cm^2"]
    assert found.text == "∠A= N_0 , AB= N_1 , area N_2"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("60°", 60), ("√15 cm", math.sqrt(15)), ("2√{15}米", 2 * math.sqrt(15)), ("12cm^2^", 12),
        (r"\frac{√{3}}{2}", math.sqrt(3) / 2), ("4√{3}+2", 4 * math.sqrt(3) + 2), (".9", 0.9),
        ("9π-√3", 9 * math.pi - math.sqrt(3)), ("B. 65°", 65), (2.5, 2.5), ("12", 12),
        (r"\frac{7}{2}√{5}", 3.5 * math.sqrt(5)), ("5 or 7", None), ("cannot tell", None),
        (None, None), ("", None), (float("nan"), None),
    ],
)  # fmt: skip
def test_options_are_numbers_or_nothing(text, value):
    assert option(text)[0] == (None if value is None else pytest.approx(value))
