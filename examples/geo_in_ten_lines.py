"""Solve a problem, look at how far to trust the answer, prove a theorem, check a wrong proof."""

from qr_cli import geo

answer = geo.solve("In triangle ABC, AB = AC and angle A = 50°. Find angle B.", ["50°", "65°"])
print(answer.status, answer.option, answer.value)  # verified B 65.0
for step in answer.record["steps"]:
    print(step["text"])

proof = geo.solve("M is the midpoint of AC and BD. Prove that AB ∥ CD.")
for step in proof.record["steps"]:
    print(step["statement"], "--", step["reason"], f"({step['check']})")

problem = geo.read_problem("AB ≅ DE, BC ≅ EF. Prove that △ABC ≅ △DEF.", elements=["△ABC", "△DEF"])
print(geo.check(problem, "R_30 E_0 congruent E_1").steps[0].note)  # no fact gives AC ≅ DF
