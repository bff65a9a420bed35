"""Figures on the published dev half (never in the package): executor, checker, search, rules."""

import json
import random
import sys
from pathlib import Path

import pytest

from qr_cli.geo import exact
from qr_cli.geo.checker import check
from qr_cli.geo.draw import svg
from qr_cli.geo.givens import read_problem
from qr_cli.geo.picture import Picture
from qr_cli.geo.program import choose, execute, matches
from qr_cli.geo.proof import write_proof
from qr_cli.geo.prover import prove
from qr_cli.geo.records import read
from qr_cli.geo.slotting import slots
from qr_cli.geo.solver import solve

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data" / "geo"
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data/geo"),
]


def rows(name):
    return [json.loads(line) for line in (DATA / name).open(encoding="utf-8")]


@pytest.fixture(scope="module")
def calculations():
    return rows("unigeo_dev_calculation.jsonl")


@pytest.fixture(scope="module")
def proofs():
    return rows("unigeo_dev_proving.jsonl")


def test_gold_programs_reach_their_label(calculations):
    right = ambiguous = 0
    for p in calculations:
        official = execute(p["program"], p["numbers"], mode="official")
        strict = execute(p["program"], p["numbers"])
        assert official.results == strict.results
        assert exact.agrees(exact.evaluate(p["program"], p["numbers"])[-1], strict.value)
        right += choose(official.value, p["choice_numbers"], mode="official") == p["label"]
        found = matches(strict.value, p["choice_numbers"])
        assert p["label"] in found
        ambiguous += len(found) > 1
    assert (right, len(calculations), ambiguous) == (376, 377, 1)


def test_slots_of_the_raw_text(calculations):
    found = [slots(p["raw_text"], mode="official").numbers == p["numbers"] for p in calculations]
    assert sum(found) >= 368


def test_no_gold_proof_is_refuted_and_every_step_is_used(proofs):
    for p in proofs:
        problem = read_problem(p["problem"])
        assert not problem.not_understood
        verdict = check(problem, p["program"])
        assert verdict.verdict in ("verified", "needs-diagram")
        assert not verdict.unused
        assert (
            write_proof([(s.reason, s.statement) for s in verdict.steps], problem.elements)
            == (p["program"])
        )


def test_single_mutations_are_rejected(proofs):
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from geo_checker import table

    rows_ = table(proofs[::4], seed=0)
    rejected, count = map(sum, zip(*rows_.values(), strict=True))
    assert rejected >= 0.88 * count


def test_proof_search_on_a_sample(proofs):
    for p in random.Random(0).sample(proofs, 20):
        problem = read_problem(p["problem"])
        found = prove(problem, seconds=20)
        assert found, p["id"]
        proof = write_proof(found[0].steps, problem.elements)
        assert check(problem, proof).verdict in ("verified", "needs-diagram")


def test_rules_on_a_sample_are_right_where_they_answer(calculations):
    wrong, answered = [], 0
    problems = [p for p in read(DATA / "unigeo_dev_calculation.jsonl")]
    for problem in problems[::12]:
        answer = solve(problem)
        if answer.status in ("verified", "determined-by-options"):
            answered += 1
            if answer.record["option_index"] != problem.label:
                wrong.append(problem.id)
    assert answered >= 10
    assert not wrong


def test_every_annotated_figure_is_drawn():
    for record in rows("geometry3k_logic_forms.jsonl"):
        places = {k: (x, -y) for k, (x, y) in record["point_positions"].items()}
        if not places:
            continue
        lines = [(s[0], s[1]) for s in record["line_instances"] if len(s) == 2]
        drawn = svg(Picture(places, [s for s in lines if set(s) <= set(places)]))
        assert drawn.count('class="name"') == len(places)
