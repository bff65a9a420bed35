"""Generated problems: every split sound, readings in the picture only, nothing unseen in train."""

import itertools
import json
import math
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from qr_cli.cli.app import run
from qr_cli.errors import UsageError
from qr_cli.geo import exact
from qr_cli.geo.checker import check
from qr_cli.geo.givens import read_problem
from qr_cli.geo.program import choose, execute, parse
from qr_cli.geo.records import problem as read_record
from qr_cli.geo.records import read, slotted
from qr_cli.geo.slotting import option, slots
from qr_cli.geo.synth import FAMILIES, SPLITS, draw_one, make, stream, words
from qr_cli.geo.synth.angles import ANGLES
from qr_cli.geo.synth.areas import AREAS
from qr_cli.geo.synth.circles import CIRCLES
from qr_cli.geo.synth.diagram import ROWS
from qr_cli.geo.synth.dice import Dice
from qr_cli.geo.synth.family import Unsound, check_figure, holds, options, spelled, value, written
from qr_cli.geo.synth.figures import Figure
from qr_cli.geo.synth.figures import renamed as relettered
from qr_cli.geo.synth.files import record, samples
from qr_cli.geo.synth.lengths import LENGTHS
from qr_cli.geo.synth.phrases import KEPT, PHRASES, QUESTIONS, form_order, held_out, spaced
from qr_cli.geo.synth.schemata import SCHEMATA
from qr_cli.geo.synth.writing import read_statement, renamed
from qr_cli.geo.text import normalize

SEQUENCES = """22 14 13 6; 14 30 6; 3 14 29 6; 3 14 0 6; 14 0 6; 35 14 13 6; 35 35 14 29 6;
35 14 0 6; 19 14 30 6; 3 19 14 13 6; 19 30 6; 19 19 4 13 6; 19 19 4 13 6 23; 19 4 29 6;
3 19 4 29 6; 3 4 29; 4 0; 4 13; 4 22 0 6; 4 16 29; 16 13 6; 22 22 14 29 6; 22 22 19 0 6;
33 29; 3 22 14 0 6; 14 29; 21 28; 15 28; 4 15; 14 15; 4 21; 14 21; 4 22 21; 14 33 21;
3 14 21; 14 10 17 25 26 21;
3 20 20 25 26 21; 22 22 11 11; 33 33 11 11; 33 11; 33 22 11; 33 4 11; 33 10 5; 33 33 11 32;
17 10 25 26 32; 33 12 11; 33 34 5; 33 36 5; 24 18 5 26; 33 22 27 5; 33 22 27 5 10 5; 9 5 26 1;
24 24 26 1; 31 11 2 33 11; 31 11 2 33 11 14 13 6; 31 14 30 6 34 5 26 24;
14 30 6 14 13 6 10 5 26 24; 2 3 0 6 14 13 6; 14 30 6 23; 33 33 11 11 2 2 8 8 25 25 5 26 7"""
KINDS = {kind: [f for f in FAMILIES.values() if f.kind == kind] for kind in
         ("calculation", "diagram", "proof")}  # fmt: skip


def drawn(name, split="train", seed=0, reading=None):
    return FAMILIES[name].make(Dice(np.random.default_rng(seed)), split, reading)


def sound(sample):
    """Check a sample from its record alone, through the readers that users meet."""
    problem = read_record(json.loads(json.dumps(record(sample, "train"))))
    if problem.task == "calculation":
        for mode in ("compound", "official"):
            found = slots(problem.text, mode=mode)
            assert found.numbers == list(problem.numbers)
            assert normalize(found.text) == sample.problem.slot_text
        choices = [option(choice)[0] for choice in problem.choices]
        for mode in ("official", "strict"):
            got = execute(problem.program, problem.numbers, mode=mode).value
            assert choose(got, choices, mode=mode) == problem.label, problem
        for a, b in itertools.combinations(choices, 2):
            assert abs(a - b) > 0.01
        assert len(choices) == 4
        return
    posed = read_problem(
        problem.text, elements=problem.elements, points=dict(problem.points),
        collinear=problem.collinear,
    )  # fmt: skip
    assert not posed.not_understood, problem.text
    verdict = check(posed, problem.proof, numeric=True)
    assert verdict.verdict == "verified", (problem, verdict)
    assert not verdict.unused
    assert not any(step.note for step in verdict.steps), (problem, verdict)
    again = read_problem(sample.problem.slot_text, elements=problem.elements)
    assert [g.statement for g in again.givens] == [g.statement for g in posed.givens]


@pytest.mark.parametrize("kind", KINDS)
def test_every_family_is_sound_from_its_record(kind):
    for family in KINDS[kind]:
        for seed, split in enumerate(("train", "unseen")):
            sound(drawn(family.name, split, seed))


@pytest.mark.slow
@pytest.mark.parametrize("split", SPLITS)
def test_two_thousand_samples_of_a_split_are_sound(split):
    for sample in itertools.islice(stream(11, split, image=False), 2000):
        sound(sample)
        assert held_out(sorted(sample.problem.points)) == (split == "unseen")


def test_the_families_of_the_specification_are_there():
    assert len(KINDS["calculation"]) >= 45
    assert len(KINDS["diagram"]) == 8
    assert {f.name: f.relations for f in KINDS["diagram"]} == {
        "which-parallel-angles": 6, "which-crossing-angles": 2, "which-right-angle": 3,
        "which-point-between": 3, "which-arc": 2, "which-equal-sides": 3,
        "which-marked-angle": 2, "which-side-of-C": 2,
    }  # fmt: skip
    names = {f"proof-{'-'.join(s.split())}" for s in SEQUENCES.split(";")}
    assert names <= {f.name for f in KINDS["proof"]}
    reasons = {int(step.split()[0]) for schema in SCHEMATA for step in schema.steps}
    assert reasons == set(range(37))


def test_a_family_has_ten_forms_and_two_hundred_texts():
    assert all(family.phrases >= 10 for family in FAMILIES.values())
    for row in (*ANGLES, *CIRCLES, *LENGTHS, *AREAS, *ROWS):
        wordings = math.prod(map(len, row.facts)) * len(set(row.asked)) * max(1, len(row.place))
        assert wordings * PHRASES * len(QUESTIONS) >= 200, row.name
    for name in ("parallelogram-next", "which-arc", "proof-14-30-6"):
        found = [drawn(name, "unseen" if i % 4 == 0 else "train", (6, i)) for i in range(300)]
        assert len({s.problem.text for s in found}) >= 200
        assert len({s.phrase for s in found}) == FAMILIES[name].phrases


def test_unseen_forms_and_letters_are_absent_from_train():
    for split in ("train", "seen", "diagram", "unseen"):
        for sample in itertools.islice(stream(4, split, image=False), 200):
            unseen = split == "unseen"
            total = FAMILIES[sample.family].phrases
            assert (sample.phrase >= total * 4 // 5) == unseen
            assert held_out(list(sample.problem.points)) == unseen
            asked = re.search(r"(?i)\bcompute|\bgive\b|equals \(\)|\bdoes\b", sample.problem.text)
            assert unseen or not asked
    assert sorted(form_order("hypotenuse")) == list(range(PHRASES)) and KEPT == 12


def test_the_same_seed_gives_the_same_bytes_and_a_stream_resumes():
    one, two = make(12, seed=5), make(12, seed=5)
    assert [record(s, "train") for s in one] == [record(s, "train") for s in two]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(one, two, strict=True))
    (late,) = itertools.islice(stream(5, start=7), 1)
    assert record(late, "train") == record(one[7], "train")
    assert np.array_equal(late.image, one[7].image)
    assert record(make(1, seed=6)[0], "train") != record(one[0], "train")
    texts = [
        {s.problem.text for s in make(60, 5, split, image=False)} for split in ("train", "seen")
    ]
    assert not texts[0] & texts[1]


@pytest.mark.parametrize("family", KINDS["diagram"], ids=lambda f: f.name)
def test_the_reading_shows_in_the_picture_only(family):
    for seed in range(12):
        found = [drawn(family.name, seed=seed, reading=r) for r in family.readings]
        assert len({s.problem.text for s in found}) == 1
        assert len({s.problem.choices for s in found}) == 1
        assert len({s.problem.label for s in found}) == len(family.readings)
        assert [s.reading for s in found] == list(family.readings)


def test_readings_are_balanced_and_numbers_do_not_tell_them():
    for family in KINDS["diagram"]:
        found = [drawn(family.name, seed=(9, i)) for i in range(220)]
        counts = Counter(s.reading for s in found)
        share = 1 / len(family.readings)
        error = math.sqrt(share * (1 - share) * len(found))
        for reading in family.readings:
            assert abs(counts[reading] - share * len(found)) < 3.5 * error, (family.name, counts)
        first = [s.problem.numbers[0] for s in found if s.reading == family.readings[0]]
        rest = [s.problem.numbers[0] for s in found if s.reading != family.readings[0]]
        spread = np.std(first + rest) * math.sqrt(1 / len(first) + 1 / len(rest))
        assert abs(np.mean(first) - np.mean(rest)) < 3.5 * spread, family.name
        assert {s.relation for s in found} == set(range(family.relations))


def test_classes_of_the_parallels_are_balanced():
    counts = Counter(drawn("which-parallel-angles", seed=(3, i)).relation for i in range(600))
    assert all(abs(counts[k] - 100) < 3.5 * math.sqrt(600 * 5 / 36) for k in range(6)), counts


def test_a_figure_that_says_something_else_is_refused():
    with pytest.raises(Unsound, match="AB=a"):
        check_figure("made", ("AB=a",), {"A": 0j, "B": 3 + 0j}, {"a": 4.0})
    points = {"A": 0j, "B": 3 + 0j, "C": 1 + 0j, "D": 1 + 2j, "E": 1j, "F": 2 + 1j}
    for claim in ("C:AB", "CD⟂AB", "EF∥AB", "AB=a", "DCB=x", "CB=CD", "AC+CB=AB"):
        assert holds(claim, points, {"a": 3.0, "x": 90.0}), claim
    for claim in ("B:AC", "AD⟂AB", "AD∥AB", "CB=AB"):
        assert not holds(claim, points, {}), claim
    bad = replace(next(row for row in ANGLES if row.name == "triangle-sum"), program="g_add x y")
    with pytest.raises(Unsound, match="triangle-sum"):
        bad.make(Dice(np.random.default_rng(0)), "train")


def test_programs_are_written_one_way():
    assert (
        written("g_add a b g_bili V_0 a c", ("c", "b", "a")) == "g_add N_1 N_2 g_bili V_0 N_2 N_0"
    )
    assert written("g_half a g_half b gougu_add V_0 V_1", ("b", "a")) == (
        "g_half N_0 g_half N_1 gougu_add V_0 V_1"
    )
    for family in KINDS["calculation"]:
        for seed in range(2):
            problem = drawn(family.name, seed=seed).problem
            for step in parse(problem.program, len(problem.numbers)):
                if step.op in ("g_add", "g_mul", "gougu_add"):
                    ranks = [("NCV".index(o[0]), int(o[2:])) for o in step.operands]
                    assert ranks == sorted(ranks)


def test_statements_are_written_one_way():
    names = dict(zip("ABCDE", "QRPTS", strict=True))
    for text, wanted in (
        ("∠BAC≅∠DCA", "∠PQR ≅ ∠QPT"), ("DC≅AB", "PT ≅ QR"), ("△ABC≅△CDA", "△PQR ≅ △QPT"),
        ("∠CBD=∠A+∠C", "∠PRT = ∠P + ∠Q"), ("90=∠C", "∠P = 90°"), ("AB/DE=AC/DB", "PQ/RT = QR/ST"),
    ):  # fmt: skip
        assert str(renamed(read_statement(text), names)) == wanted


def test_options_are_apart_and_the_label_is_anywhere():
    places = Counter()
    for seed in range(300):
        values, label = options(
            Dice(np.random.default_rng(seed)), 65.0, [65.2, 50, 130, 115], top=180
        )
        assert values[label] == 65 and set(values) == {65, 50, 130, 115}
        places[label] += 1
    assert min(places.values()) > 45


@pytest.mark.parametrize("number, text", [
    (65.0, "65"), (12.5, "12.5"), (2 * math.sqrt(3), "2√3"), (math.sqrt(3) / 2, "√3/2"),
    (math.sqrt(776), "2√194"), (9 * math.pi, "9π"), (math.pi, "π"), (1 / 3, "0.3333"),
])  # fmt: skip
def test_numbers_are_spelled_as_the_option_reader_reads_them(number, text):
    assert spelled(number) == text
    assert abs(option(text)[0] - number) < 1e-4


def test_a_proof_text_is_spaced_as_the_published_ones():
    text = "Given AB ∥ CD and ∠E ≅ ∠ABC. Prove that AB/CD = EF/GH, △ABC ~ △DEF."
    assert spaced(text) == (
        "Given A B ∥ C D and ∠E ≅ ∠ A B C . Prove that A B / C D = E F / G H , △ A B C ~ △ D E F ."
    )


def test_a_third_of_the_proofs_lists_more_than_it_needs():
    more = 0
    for sample in itertools.islice(stream(2, mix={"proof": 1}, image=False), 200):
        used = set(re.findall(r"E_\d+", sample.problem.proof))
        more += len(used) < len(sample.problem.elements)
        assert len(sample.problem.elements) <= 24
    assert 35 <= more <= 85
    for sample in samples(40, seed=2, split="train", families=("proof-14-30-6",), elements="gold"):
        used = set(re.findall(r"E_\d+", sample.problem.proof))
        assert len(used) == len(sample.problem.elements)
        sound(sample)


def test_pictures_have_ink_and_white_and_what_the_figure_holds():
    for family in FAMILIES.values():
        sample = draw_one(np.random.default_rng(3), "train", family=family.name)
        assert sample.image.shape == (112, 112) and sample.image.dtype == np.uint8
        ink = (sample.image < 128).mean()
        assert 0.008 < ink < 0.3, (family.name, ink)
        assert set(sample.problem.points) == {p for p in sample.figure.points if p.isupper()}


def test_marks_of_a_figure_follow_its_letters():
    figure = Figure({"A": 0j, "B": 1 + 0j}, "AB", ticks={"AB": 2})
    assert relettered(figure, {"A": "P", "B": "Q"}).ticks == {"PQ": 2}


def test_words_are_all_the_words():
    seen = {
        word.lower()
        for split in ("train", "unseen")
        for sample in itertools.islice(stream(8, split, image=False), 200)
        for word in re.findall(r"\b[A-Z]?[a-z]+\b", sample.problem.slot_text)
    }
    assert seen <= set(words())


def test_numbers_are_bound_to_what_they_measure():
    sample = drawn("exterior-angle")
    assert len(sample.bound) == len(sample.problem.numbers)
    assert all(re.fullmatch("angle [A-Z] [A-Z] [A-Z]", name) for name in sample.bound)
    assert sample.target.startswith("angle ")
    assert value("g_add a b g_half V_0", {"a": 3.0, "b": 5.0}) == 4.0


def test_closed_forms_agree_with_the_options():
    for name in ("hypotenuse", "cone-height", "sine-leg", "arc-length"):
        problem = drawn(name, seed=2).problem
        form = exact.evaluate(problem.program, problem.numbers)[-1]
        assert abs(float(form) - option(problem.choices[problem.label])[0]) < 1e-4


def test_neither_torch_nor_sympy_is_imported():
    code = (
        "import sys, qr_cli.geo.synth as s; s.make(5); print({'torch', 'sympy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("what, message", [
    ({"split": "test"}, "no split 'test'"), ({"family": "hypotenus"}, "did you mean 'hypotenuse'"),
    ({"kind": "proofs"}, "no kind 'proofs'"),
])  # fmt: skip
def test_unknown_names_are_said(what, message):
    with pytest.raises(UsageError, match=message):
        draw_one(np.random.default_rng(0), **{"split": "train", **what})


# the command ------------------------------------------------------------------------------------


def made(tmp_path, *flags):
    return run(["data", "geo", "make", "--n", "12", "--out", str(tmp_path / "synth"), *flags])


def test_make_writes_a_folder_that_the_other_commands_read(tmp_path, capfd):
    assert made(tmp_path, "--families", "proof-14-30-6,hypotenuse") == 0
    told = json.loads(capfd.readouterr().out)
    assert told["n"] == 12 and set(told["families"]) == {"proof-14-30-6", "hypotenuse"}
    problems = list(read(tmp_path / "synth" / "problems.jsonl"))
    assert len(problems) == 12 and all(p.diagram.is_file() for p in problems)
    assert not any(p.warnings for p in problems)
    assert slotted(next(p for p in problems if p.numbers)).numbers
    assert run(["data", "geo", "check", str(tmp_path / "synth" / "problems.jsonl")]) in (0, 3)
    assert not list(tmp_path.glob(".*"))


def test_make_does_not_overwrite_unasked(tmp_path, capfd):
    assert made(tmp_path, "--diagrams", "none") == 0
    before = (tmp_path / "synth" / "problems.jsonl").read_bytes()
    assert made(tmp_path, "--diagrams", "none", "--seed", "2") == 2
    assert "is there already" in capfd.readouterr().err
    assert (tmp_path / "synth" / "problems.jsonl").read_bytes() == before
    assert made(tmp_path, "--diagrams", "none", "--overwrite") == 0
    assert (tmp_path / "synth" / "problems.jsonl").read_bytes() == before


def test_make_draws_svg(tmp_path):
    assert made(tmp_path, "--diagrams", "svg", "--split", "diagram") == 0
    drawings = list((tmp_path / "synth" / "diagrams").glob("*.svg"))
    assert len(drawings) == 12 and drawings[0].read_text("utf-8").startswith("<svg")


def test_make_prints_records_without_a_folder(capfd):
    assert run(["data", "geo", "make", "--n", "3", "--split", "unseen", "--elements", "none"]) == 0
    rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert len(rows) == 3 and all(row.get("elements") is None for row in rows)


def test_make_lists_families_and_suggests_names(capfd):
    assert run(["data", "geo", "make", "--list"]) == 0
    assert len(capfd.readouterr().out.splitlines()) == len(FAMILIES)
    assert run(["data", "geo", "make", "--families", "hypotenus"]) == 2
    assert "hypotenuse" in capfd.readouterr().err
