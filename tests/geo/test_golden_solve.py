"""Twelve problems by rules, network and both, as recorded; the weights that ship answer."""

import json
from pathlib import Path

import pytest

from qr_cli.geo.solver import Options, solve

GOLDEN = Path(__file__).parents[1] / "golden" / "geo-solve.json"
PROBLEMS = [
    ("In triangle ABC, AB = AC and angle A = 50°. Find angle B.", ["50°", "65°", "80°", "130°"]),
    ("In triangle PQR, ∠P = 40°, ∠Q = 60°. Find ∠R.", ["80°", "100°", "60°", "40°"]),
    ("In right triangle ABC, ∠C = 90°, AC = 6, BC = 8. Find AB.", None),
    ("A cone has radius 3 and slant height 5. Find its lateral area.", ["15π", "30π", "9π", "25π"]),
    ("A, B and C are on circle O and ∠AOB = 100°. Find ∠ACB.", ["50°", "100°", "40°", "80°"]),
    ("In rectangle ABCD, AB = 3 and BC = 4. Find AC.", ["5", "7", "12", "25"]),
    ("a ∥ b, angle 1 = 50°. Then angle 2 = ()", ["50°", "130°"]),
    ("DE ∥ BC in triangle ABC, D on AB, E on AC, AD = 2, DB = 3, AE = 4. Find EC.", None),
    ("What is the meaning of life?", None),
    ("Given AB ∥ CD and AB ≅ CD. Prove that △ABC ≅ △CDA.", None),
    ("M is the midpoint of AC and BD. Prove that AB ≅ CD.", None),
    ("Given AB ≅ CD and AD ≅ BC. Prove that ∠B ≅ ∠D.", None),
]  # fmt: skip
KEPT = ("status", "method", "value", "option", "program", "proof")


@pytest.mark.parametrize("solver", ["rules", "network", "both"])
def test_twelve_problems_are_answered_as_recorded(solver, request):
    found = []
    for text, choices in PROBLEMS:
        if solver == "network" and "meaning" in text:
            continue  # an error of its own: no number
        record = solve(text, choices, options=Options(solver=solver)).record
        told = {key: record[key] for key in KEPT if record.get(key) is not None}
        if isinstance(told.get("value"), float):
            told["value"] = round(told["value"], 6)
        found.append(told)
    golden = json.loads(GOLDEN.read_text("utf-8")) if GOLDEN.exists() else {}
    if request.config.getoption("--update-golden"):
        golden[solver] = found
        GOLDEN.write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n", "utf-8")
    assert found == golden[solver]
