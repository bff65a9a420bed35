"""Each reason: a statement it supports, one that needs the diagram, three that it refutes."""

import pytest

from qr_cli.geo.board import Board
from qr_cli.geo.checker import check
from qr_cli.geo.givens import read_problem
from qr_cli.geo.proof import parse_element
from qr_cli.geo.reasons import REASONS


def level(given, elements, proof, **extra):
    """Return the level of a proof's last step."""
    goal = "A B ≅ A B"
    problem = read_problem(f"{given}. Prove that {goal}.", elements=elements.split(", "), **extra)
    verdict = check(problem, proof)
    assert verdict.verdict != "syntax", verdict.error
    return verdict.steps[-1].level


TWO = "△ A B C, △ D E F, A B, D E, B C, E F, A C, D F, ∠A, ∠D, ∠B, ∠E"
SIDES = {"AB": "A B ≅ D E", "BC": "B C ≅ E F", "AC": "A C ≅ D F"}
ANGLES = {"A": "∠A ≅ ∠D", "B": "∠B ≅ ∠E", "C": "∠C ≅ ∠F"}
# reason, givens, elements, statement, level
CASES = [
    (0, "∠A ≅ ∠D and ∠B ≅ ∠E and B C ≅ E F", TWO, "E_0 congruent E_1", 2),
    (0, "∠A ≅ ∠D and ∠B ≅ ∠E and A B ≅ D E", TWO, "E_0 congruent E_1", 0),
    (0, "∠A ≅ ∠D and B C ≅ E F", TWO, "E_0 congruent E_1", 0),
    (0, "∠A ≅ ∠E and ∠B ≅ ∠D and B C ≅ E F", TWO, "E_0 congruent E_1", 0),
    (1, "∠ A B D + ∠ B D C = 180°", "A B, C D, A C", "E_0 parallel E_1", 1),
    (1, "∠ A B D + ∠ B D C = 90°", "A B, C D, A C", "E_0 parallel E_1", 0),
    (1, "∠ A B D ≅ ∠ B D C", "A B, C D, A C", "E_0 parallel E_1", 0),
    (1, "∠ A B D + ∠ B D C = 180°", "A B, C D, E F", "E_0 parallel E_2", 0),
    (2, "A B ≅ A C", "∠ A B C, ∠ A C B, ∠ B A C", "E_0 congruent E_1", 2),
    (2, "∠B ≅ ∠C", "A B, A C, B C, ∠ A B C", "E_0 congruent E_1", 2),
    (2, "A B ≅ A C", "∠ A B C, ∠ A C B, ∠ B A C", "E_0 congruent E_2", 0),
    (2, "∠B ≅ ∠C", "A B, A C, B C, ∠ A B C", "E_0 congruent E_2", 0),
    (2, "A B ≅ C D", "∠ A B C, ∠ A C B", "E_0 congruent E_1", 0),
    (3, "A B ⟂ B C and D E ⟂ E F", "∠ A B C, ∠ D E F, ∠ A C B", "E_0 congruent E_1", 2),
    (3, "A D ⟂ B C", "∠ A D B, ∠ A D C", "E_0 congruent E_1", 1),
    (3, "A B ⟂ B C and D E ⟂ E F", "∠ A B C, ∠ D E F, ∠ A C B", "E_0 congruent E_2", 0),
    (3, "A B ⟂ B C", "∠ A B C, ∠ D E F", "E_0 congruent E_1", 0),
    (3, "A B ⟂ B C", "∠ A B C, ∠ D E F", "E_0 congruent E_0", 0),
    (4, "M is the midpoint of A C and B D", "∠ A M B, ∠ C M D, ∠ A M D", "E_0 congruent E_1", 2),
    (4, "A B ≅ C D", "∠ A M B, ∠ C M D", "E_0 congruent E_1", 1),
    (4, "A B ≅ C D", "∠ A M B, ∠ C M D, △ A M C", "E_0 congruent E_1", 1),
    (4, "A B ≅ C D", "∠ A M B, ∠ C M D, △ A M C, △ A M D", "E_0 congruent E_1", 0),
    (4, "A B ≅ C D", "∠ A M B, ∠ B M D", "E_0 congruent E_1", 0),
    (4, "A B ≅ C D", "∠ A M B, ∠ C N D", "E_0 congruent E_1", 0),
    (5, "∠A + ∠B = 90° and ∠B ≅ ∠C", "∠A, ∠C, ∠B", "E_0 + E_1 = C_2", 2),
    (5, "∠A + ∠B = 90° and ∠B ≅ ∠C", "∠A, ∠C, ∠B", "E_0 + E_1 = C_3", 0),
    (5, "∠A + ∠B = 90°", "∠A, ∠C, ∠B", "E_0 + E_1 = C_2", 0),
    (5, "∠A + ∠B = 90°", "∠A, ∠C, ∠B", "E_0 + E_1 = E_1 + E_0", 0),
    (6, "△ A B C ≅ △ D E F", TWO, "E_2 congruent E_3", 2),
    (6, "△ A B C ≅ △ D E F", TWO, "E_8 congruent E_9", 2),
    (6, "△ A B C ≅ △ D E F", TWO, "E_2 congruent E_5", 0),
    (6, "△ A B C ≅ △ D E F", TWO, "E_8 congruent E_11", 0),
    (6, "△ A B C ~ △ D E F", TWO, "E_2 congruent E_3", 0),
    (7, "∠A = ∠B", "∠A, ∠B, ∠C", "E_0 congruent E_1", 2),
    (7, "∠A = ∠B", "∠A, ∠B, ∠C", "E_0 congruent E_2", 0),
    (7, "∠A = 90°", "∠A, ∠B", "E_0 congruent E_1", 0),
    (7, "∠A ≅ ∠C", "∠A, ∠B", "E_0 congruent E_1", 0),
    (8, "A B ≅ C D", "A C, A M, M C, A D", "E_0 = E_1 + E_2", 1),
    (8, "A B ≅ C D", "A C, A M, M C, △ A M C", "E_0 = E_1 + E_2", 0),
    (8, "A B ≅ C D", "A C, A M, M C, A D", "E_3 = E_1 + E_2", 0),
    (8, "A B ≅ C D", "A C, A M, M C, A D", "E_1 = E_0 + E_2", 1),
    (9, "A B ≅ C D", "∠ D A B, ∠ A B C, ∠ B C D, ∠ C D A", "E_0 + E_1 + E_2 + E_3 = C_4", 2),
    (9, "A B ≅ C D", "∠ D A B, ∠ A B C, ∠ B C D, ∠ C D A", "E_0 + E_1 + E_2 + E_3 = C_3", 0),
    (9, "A B ≅ C D", "∠ D A B, ∠ A B C, ∠ B C D, ∠ C D A", "E_0 + E_1 + E_2 + E_2 = C_4", 0),
    (9, "A B ≅ C D", "∠ D A B, ∠ A B C, ∠ B C D", "E_0 + E_1 + E_2 = C_4", 0),
    (10, "M is the midpoint of A C", "∠ A M B, ∠ C M B, ∠ A M D", "E_0 + E_1 = C_3", 2),
    (10, "A B ≅ C D", "∠ A M B, ∠ C M B", "E_0 + E_1 = C_3", 1),
    (10, "A B ≅ C D", "∠ A M B, ∠ C M B, △ A M C", "E_0 + E_1 = C_3", 0),
    (10, "A B ≅ C D", "∠ A M B, ∠ C M D", "E_0 + E_1 = C_3", 0),
    (10, "M is the midpoint of A C", "∠ A M B, ∠ C M B", "E_0 + E_1 = C_2", 0),
    (11, "A B ≅ C D and C D ≅ E F", "A B, E F, C D", "E_0 congruent E_1", 2),
    (11, "∠A ≅ ∠B and ∠B ≅ ∠C", "∠A, ∠C, ∠D", "E_0 congruent E_1", 2),
    (11, "∠A ≅ ∠ C B D and ∠B ≅ ∠E", "∠A, ∠E", "E_0 congruent E_1", 1),
    (11, "A B ≅ C D and G H ≅ E F", "A B, E F, C D", "E_0 congruent E_1", 0),
    (11, "A B ≅ C D", "A B, E F, C D", "E_0 congruent E_2", 0),
    (11, "∠A ≅ ∠B and ∠B ≅ ∠C", "∠A, ∠C, ∠D", "E_0 congruent E_2", 0),
    (12, "G H ∥ K L", "∠ E P B, ∠ F Q C", "E_0 congruent E_1", 0),
    (12, "A P ∥ C Q", "∠ E P A, ∠ F Q C", "E_0 congruent E_1", 1),
    (12, "A P ∥ C Q", "∠ Q P A, ∠ P Q C", "E_0 congruent E_1", 0),
    (12, "A P ≅ C Q", "∠ E P A, ∠ F Q C", "E_0 congruent E_1", 0),
    (13, "A B ≅ D E and A C ≅ D F and ∠A ≅ ∠D", TWO, "E_0 congruent E_1", 2),
    (13, "A B ≅ D E and A C ≅ D F and ∠B ≅ ∠E", TWO, "E_0 congruent E_1", 0),
    (13, "A B ≅ D E and ∠A ≅ ∠D", TWO, "E_0 congruent E_1", 0),
    (13, "A B ≅ D F and A C ≅ D E and ∠A ≅ ∠D", TWO, "E_0 congruent E_1", 0),
    (14, "A B ≅ C D", "A B, C D, ∠ A B C", "E_0 congruent E_0", 2),
    (14, "A B ≅ C D", "A B, C D, ∠ A B C", "E_0 congruent E_1", 0),
    (14, "A B ≅ C D", "A B, B A, ∠ A B C", "E_0 congruent E_1", 2),
    (14, "A B ≅ C D", "∠ A B C, ∠ C B A, ∠ A B D", "E_0 congruent E_2", 0),
    (14, "A B ≅ C D", "A B", "E_0 = E_0", 0),
    (15, "A B / D E = A C / D F and ∠A ≅ ∠D", TWO, "E_0 similar E_1", 2),
    (15, "A B / D E = A C / D F and ∠B ≅ ∠E", TWO, "E_0 similar E_1", 0),
    (15, "A B / D E = A C / D F", TWO, "E_0 similar E_1", 0),
    (15, "A B ≅ D E and A C ≅ D F and ∠A ≅ ∠D", TWO, "E_0 similar E_1", 0),
    (16, "△ A B C is equilateral", "A B, B C, A D", "E_0 congruent E_1", 2),
    (16, "△ A B C is equilateral", "A B, B C, A D", "E_0 congruent E_2", 0),
    (16, "△ A B C is equilateral", "A B, B C, A D", "E_0 congruent E_0", 0),
    (16, "△ A B C ≅ △ D E F", "A B, B C", "E_0 congruent E_1", 0),
    (17, "∠A and ∠B are supplementary", "∠A, ∠B, ∠C", "E_0 + E_1 = C_3", 2),
    (17, "∠A and ∠B are supplementary", "∠A, ∠B, ∠C", "E_0 + E_2 = C_3", 0),
    (17, "∠A and ∠B are supplementary", "∠A, ∠B, ∠C", "E_0 + E_1 = C_2", 0),
    (17, "∠A ≅ ∠B", "∠A, ∠B, ∠C", "E_0 + E_1 = C_3", 0),
    (18, "A B ≅ A C", "∠A, ∠B, ∠C", "E_0 + E_1 + E_2 = C_3", 2),
    (18, "A B ≅ A C", "∠ B A C, ∠ A B C, ∠ A C B", "E_0 + E_1 + E_2 = C_3", 2),
    (18, "A B ≅ A C", "∠ B A C, ∠ A B C, ∠ A C B", "E_0 + E_1 + E_1 = C_3", 0),
    (18, "A B ≅ A C", "∠ B A C, ∠ A B C, ∠ A C B", "E_0 + E_1 + E_2 = C_4", 0),
    (18, "A B ≅ A C", "∠ B A C, ∠ A B C, ∠ A C B", "E_0 + E_1 = C_3", 0),
    (19, "M is the midpoint of A B", "A M, M B, A B", "E_0 congruent E_1", 2),
    (19, "M is the midpoint of A B", "A M, M B, A B", "E_0 congruent E_2", 0),
    (19, "M is the midpoint of A B", "A N, N B", "E_0 congruent E_1", 0),
    (19, "A M ≅ C D", "A M, M B", "E_0 congruent E_1", 0),
    (20, "A C ⟂ B C", "∠A, ∠B, ∠C", "E_0 + E_1 = C_2", 2),
    (20, "A D ⟂ B C", "∠ B A D, ∠ A B D", "E_0 + E_1 = C_2", 1),
    (20, "A C ⟂ B C", "∠A, ∠B, ∠C", "E_0 + E_1 = C_3", 0),
    (20, "A C ∥ B C", "∠A, ∠B, ∠C", "E_0 + E_1 = C_2", 0),
    (20, "A C ⟂ B C", "∠ A C B, ∠ A B C", "E_0 + E_1 = C_2", 0),
    (21, "∠A ≅ ∠D and ∠B ≅ ∠E", TWO, "E_0 similar E_1", 2),
    (21, "∠A ≅ ∠D", TWO, "E_0 similar E_1", 0),
    (21, "∠A ≅ ∠E and ∠B ≅ ∠D", TWO, "E_0 similar E_1", 0),
    (21, "A B ≅ D E and B C ≅ E F", TWO, "E_0 similar E_1", 0),
    (22, "A B ∥ C D", "∠ A B C, ∠ B C D, ∠ A B D", "E_0 congruent E_1", 1),
    (22, "A B ≅ C D", "∠ A B C, ∠ B C D", "E_0 congruent E_1", 0),
    (22, "E F ∥ G H", "∠ A B C, ∠ B C D", "E_0 congruent E_1", 0),
    (22, "A B ∥ C D", "∠ A B C, ∠ A B D", "E_0 congruent E_1", 0),
    (23, "∠ A B C ≅ ∠ B C D", "A B, C D, A D", "E_0 parallel E_1", 1),
    (23, "∠ A B C ≅ ∠ B C D", "A B, C D, E F", "E_0 parallel E_2", 0),
    (23, "∠ A B C + ∠ B C D = 180°", "A B, C D", "E_0 parallel E_1", 0),
    (23, "∠ A B C ≅ ∠ E F G", "A B, C D", "E_0 parallel E_1", 0),
    (24, "A B ⟂ B C", "∠ A B C, ∠ A C B, ∠B", "E_0 = C_2", 2),
    (24, "∠ A B C = 90°", "A B, B C, A C", "E_0 vertical E_1", 2),
    (24, "A D ⟂ B C", "∠ A D B", "E_0 = C_2", 1),
    (24, "A B ⟂ B C", "∠ A B C, ∠ A C B, ∠B", "E_1 = C_2", 0),
    (24, "A B ⟂ B C", "∠ A B C, ∠ A C B, ∠B", "E_0 = C_3", 0),
    (24, "∠ A B C = 90°", "A B, B C, A C", "E_0 vertical E_2", 0),
    (25, "∠A + ∠B = 90° and ∠C + ∠B = 90°", "∠A, ∠B, ∠C", "E_0 + E_1 = E_2 + E_1", 2),
    (25, "∠A + ∠B = 90° and ∠C + ∠B = 180°", "∠A, ∠B, ∠C", "E_0 + E_1 = E_2 + E_1", 0),
    (25, "∠A + ∠B = 90° and ∠C + ∠B = 90°", "∠A, ∠B, ∠C", "E_0 = E_2", 0),
    (25, "∠A + ∠B = 90°", "∠A, ∠B, ∠C", "E_0 + E_1 = E_2 + E_1", 0),
    (26, "∠A + ∠B = ∠C + ∠B", "∠A, ∠B, ∠C", "E_0 = E_2", 2),
    (26, "∠A + ∠A = 180°", "∠A, ∠B", "E_0 = C_2", 2),
    (26, "∠A + ∠B = ∠C + ∠B", "∠A, ∠B, ∠C", "E_0 = E_1", 0),
    (26, "∠A + ∠A = 180°", "∠A, ∠B", "E_0 = C_3", 0),
    (26, "A B ≅ C D", "∠A, ∠B", "E_0 = C_2", 0),
    (27, "A B ≅ C D", "∠ A V C, ∠ A V B, ∠ B V C, ∠ A V D", "E_0 = E_1 + E_2", 1),
    (27, "A B ≅ C D", "∠ A V C, ∠ A V B, ∠ B V C, ∠ A V D", "E_3 = E_1 + E_2", 0),
    (27, "A B ≅ C D", "∠ A V C, ∠ A V B, ∠ B W C", "E_0 = E_1 + E_2", 0),
    (27, "A B ≅ C D", "∠ A V C, ∠ A V B, ∠ C V D", "E_0 = E_1 + E_2", 0),
    (28, "△ A B C ~ △ D E F", TWO, "E_2 / E_3 = E_4 / E_5", 2),
    (28, "△ A B C ~ △ D E F", TWO, "E_8 congruent E_9", 2),
    (28, "△ A B C ~ △ D E F", TWO, "E_2 / E_5 = E_4 / E_3", 0),
    (28, "△ A B C ~ △ D E F", TWO, "E_2 congruent E_3", 0),
    (28, "△ A B C ~ △ D E F", TWO, "E_8 congruent E_11", 0),
    (29, "∠A ≅ ∠D and ∠B ≅ ∠E and A B ≅ D E", TWO, "E_0 congruent E_1", 2),
    (29, "∠A ≅ ∠D and ∠B ≅ ∠E and B C ≅ E F", TWO, "E_0 congruent E_1", 0),
    (29, "∠A ≅ ∠D and A B ≅ D E", TWO, "E_0 congruent E_1", 0),
    (29, "∠A ≅ ∠E and ∠B ≅ ∠D and A B ≅ E F", TWO, "E_0 congruent E_1", 0),
    (30, "A B ≅ D E and B C ≅ E F and A C ≅ D F", TWO, "E_0 congruent E_1", 2),
    (30, "A B ≅ D E and B C ≅ E F", TWO, "E_0 congruent E_1", 0),
    (30, "A B ≅ E F and B C ≅ D E and A C ≅ D F", TWO, "E_0 congruent E_1", 0),
    (30, "A B ≅ D E and B C ≅ E F and ∠A ≅ ∠D", TWO, "E_0 congruent E_1", 0),
    (31, "A B ∥ C D and A D ∥ B C", "A B, C D, A D, A C", "E_0 congruent E_1", 2),
    (31, "A B ∥ C D", "A B, C D, A D", "E_0 congruent E_1", 0),
    (31, "A B ∥ C D and A D ∥ B C", "A B, C D, A D, A C", "E_0 congruent E_2", 0),
    (31, "A B ∥ C D and E F ∥ G H", "A B, C D", "E_0 congruent E_1", 0),
    (32, "∠ E P B ≅ ∠ P Q D", "P B, Q D, E D", "E_0 parallel E_1", 1),
    (32, "∠ E P B ≅ ∠ P Q D", "P B, Q D, G H", "E_0 parallel E_2", 0),
    (32, "∠ Q P B ≅ ∠ P Q D", "P B, Q D", "E_0 parallel E_1", 0),
    (32, "∠ E P B + ∠ P Q D = 180°", "P B, Q D", "E_0 parallel E_1", 0),
    (33, "P B ∥ Q D", "∠ E P B, ∠ P Q D, ∠ Q P B", "E_0 congruent E_1", 1),
    (33, "P B ∥ Q D", "∠ E P B, ∠ P Q D, ∠ Q P B", "E_2 congruent E_1", 0),
    (33, "P B ≅ Q D", "∠ E P B, ∠ P Q D", "E_0 congruent E_1", 0),
    (33, "A C ∥ F G", "∠ E P B, ∠ P Q D", "E_0 congruent E_1", 0),
    (34, "A B ∥ C D", "∠ A B D, ∠ B D C", "E_0 + E_1 = C_3", 1),
    (34, "A B ∥ C D", "∠ A B D, ∠ B D C", "E_0 + E_1 = C_2", 0),
    (34, "A B ≅ C D", "∠ A B D, ∠ B D C", "E_0 + E_1 = C_3", 0),
    (34, "E F ∥ G H", "∠ A B D, ∠ B D C", "E_0 + E_1 = C_3", 0),
    (35, "B D bisects ∠ A B C", "∠ A B D, ∠ C B D, ∠ A B C", "E_0 congruent E_1", 2),
    (35, "B D bisects ∠ A B C", "∠ A B D, ∠ C B D, ∠ A B C", "E_0 congruent E_2", 0),
    (35, "∠ A B D ≅ ∠ A B C", "∠ A B D, ∠ C B D", "E_0 congruent E_1", 0),
    (35, "B D bisects ∠ A B C", "∠ A D B, ∠ C D B", "E_0 congruent E_1", 0),
    (36, "A P ∥ C Q", "∠ E P A, ∠ F Q C", "E_0 + E_1 = C_3", 1),
    (36, "A P ∥ C Q", "∠ Q P A, ∠ P Q C", "E_0 + E_1 = C_3", 0),
    (36, "A P ≅ C Q", "∠ E P A, ∠ F Q C", "E_0 + E_1 = C_3", 0),
    (36, "A P ∥ C Q", "∠ E P A, ∠ F Q C", "E_0 + E_1 = C_2", 0),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "given", "elements", "statement", "wanted"), CASES)
def test_a_reason_supports_just_what_it_should(reason, given, elements, statement, wanted):
    assert level(given, elements, f"R_{reason} {statement}") == wanted


def test_every_reason_has_a_supported_and_three_refuted_statements():
    for index in range(len(REASONS)):
        levels = [case[4] for case in CASES if case[0] == index]
        assert levels.count(0) >= (2 if index == 8 else 3), index
        assert max(levels) >= 1, index


SAS = read_problem(
    "Given A B ≅ C D and A B ∥ C D. Prove that △ A B C ≅ △ C D A.",
    elements=["△ A B C", "△ C D A", "A C", "∠ B A C", "∠ A C D"],
)
GOOD = "R_22 E_3 congruent E_4 R_14 E_2 congruent E_2 R_13 E_0 congruent E_1"


def test_a_verdict_names_rules_facts_and_assumptions():
    verdict = check(SAS, GOOD)
    assert verdict.verdict == "needs-diagram"
    assert [step.uses for step in verdict.steps] == [(-2,), (), (0, 1, -1)]
    assert verdict.assumptions == ("∠BAC and ∠ACD are alternate interior angles",)
    record = verdict.to_dict()
    assert record["steps"][2]["reason_id"] == "R_13"


@pytest.mark.parametrize(
    ("proof", "verdict", "words"),
    [
        (
            "R_14 E_2 congruent E_2 R_13 E_0 congruent E_1",
            "refuted",
            "SAS does not hold: no fact gives BC ≅ AD, ∠A ≅ ∠C",
        ),
        ("R_14 E_2 congruent E_2", "wrong-goal", None),
        ("R_99 E_0", "syntax", None),
    ],
)
def test_what_is_wrong_is_said(proof, verdict, words):
    found = check(SAS, proof)
    assert found.verdict == verdict
    if words:
        assert words in found.steps[-1].note


def test_a_step_nobody_uses_and_a_repeated_fact_are_warnings():
    found = check(SAS, "R_14 E_2 congruent E_2 R_14 E_3 congruent E_3 " + GOOD)
    assert "step 2 is not used" in found.warnings
    assert "step 4 repeats a known fact" in found.warnings


SQUARE = {"A": (0, 1), "B": (2, 1.5), "C": (3, 0), "D": (1, -0.5)}


def test_coordinates_decide_what_the_text_leaves_open():
    """Of opposite sides AB and CD the angles alternate; when they point the same way, not."""
    given, elements = "Given A B ∥ C D and A B ≅ C D. Prove that △ A B C ≅ △ C D A.", SAS.elements
    names = [str(e) for e in elements]
    yes = read_problem(given, elements=names, points=SQUARE)
    assert check(yes, GOOD).verdict == "verified"
    same_way = SQUARE | {"D": (5, 0.5)}
    no = read_problem(given, elements=names, points=same_way)
    assert check(no, GOOD).verdict == "refuted"


def test_a_point_outside_a_segment_refutes_a_linear_pair():
    text, elements = "Given A B ≅ A B. Prove that A B ≅ A B.", ["∠ A M B", "∠ B M C"]
    proof = "R_10 E_0 + E_1 = C_3"
    inside = {"A": (0, 0), "M": (1, 0), "C": (2, 0), "B": (1, 1)}
    outside = inside | {"C": (0.5, 0)}
    levels = [
        check(read_problem(text, elements=elements, points=p), proof).steps[0].level
        for p in (None, inside, outside)
    ]
    assert levels == [1, 2, 0]


def test_numbers_never_prove_an_equality_and_may_contradict_one():
    given = "Given A B ≅ C D. Prove that A B ≅ C D."
    points = {"A": (0, 0), "B": (1, 0), "C": (0, 1), "D": (1, 1), "M": (5, 5)}
    problem = read_problem(given, elements=["A B", "C D", "A C"], points=points)
    assert check(problem, "R_19 E_0 congruent E_1").verdict == "refuted"
    bent = read_problem(given, elements=["A B", "C D"], points=points | {"D": (3, 1)})
    proof = "R_11 E_0 congruent E_1"
    assert check(bent, proof, numeric=True).steps[0].level == 0
    given = "Given M is the midpoint of A B. Prove that A M ≅ B M."
    skew = {"A": (0, 0), "B": (4, 0), "M": (1, 0)}
    problem = read_problem(given, elements=["A M", "B M"], points=skew)
    found = check(problem, "R_19 E_0 congruent E_1", numeric=True)
    assert found.steps[0].note == "contradicts-diagram"


def test_a_midpoint_tells_where_three_points_lie():
    text = "Given A B ≅ A C and D is the midpoint of B C. Prove that △ABD ≅ △ACD."
    elements = ["B D", "C D", "∠ A B D", "∠ A C D", "△ A B D", "△ A C D"]
    proof = "R_19 E_0 congruent E_1 R_2 E_2 congruent E_3 R_13 E_4 congruent E_5"
    assert check(read_problem(text, elements=elements), proof).verdict == "verified"
    without = text.replace("D is the midpoint of B C", "B D ≅ C D")
    rest = proof.removeprefix("R_19 E_0 congruent E_1 ")
    assert check(read_problem(without, elements=elements), rest).verdict == "needs-diagram"
    board = Board(read_problem(text, elements=elements))
    assert [board.ray(*way).level for way in ("BDC", "CBD", "DBC", "DCB")] == [2, 2, 0, 0]
    assert board.between("D", "C", "B").level == 2 and board.between("B", "C", "D").level == 0
    assert board.on("D", parse_element("BC")).level == 2


def test_more_givens_never_lower_a_level():
    for reason, given, elements, statement, wanted in CASES:
        if wanted:
            more = f"{given} and A B ≅ A B"
            assert level(more, elements, f"R_{reason} {statement}") >= wanted
