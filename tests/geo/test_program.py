"""Both executors, option rules and closed forms against the worked examples and a reference."""

import math
import random

import pytest
from reference.geo import ARITY, run

from qr_cli.errors import DataError
from qr_cli.geo import exact
from qr_cli.geo.program import Abort, choose, execute, matches, official_choice, parse, unparse

REJECTED, ABORT, SYNTAX = "rejected", "abort", "syntax"
# program, numbers, official, strict (None: the same)
EXAMPLES = [
    ("g_equal N_0", [50], [50], None),
    ("g_minus N_0 N_1", [3, 10], [7], None),
    ("g_minus C_3 N_0 g_half V_0", [50], [130, 65], None),
    ("g_mul N_0 N_1", [-2, 3], [-6], None),
    ("g_divide N_0 N_1", [6, 4], [1.5], None),
    ("g_divide N_0 N_1", [6, 0], [False], ABORT),
    ("g_divide N_0 N_1", [-6, 3], [False], [-2]),
    ("g_bili N_0 N_1 N_2", [2, 4, 6], [3.0], None),
    ("g_bili N_0 N_1 N_2", [2, 4, -6], [False], [-3]),
    ("g_sin N_0", [30], [0.49999999999999994], None),
    ("g_sin N_0", [37], [False], [math.sin(math.radians(37))]),
    ("g_cos N_0", [120], [-0.4999999999999998], None),
    ("g_cos N_0", [90], [6.123233995736766e-17], None),
    ("g_tan N_0", [15], [0.2679491924311227], None),
    ("g_tan N_0", [90], [False], ABORT),
    ("g_tan N_0", [85], [False], [math.tan(math.radians(85))]),
    ("g_sin N_0", [180], [1.2246467991473532e-16], None),
    ("g_asin N_0", [0.5], [30.000000000000004], None),
    ("g_acos N_0", [1], [False], [0]),
    ("gougu_add N_0 N_1", [3, 4], [5], None),
    ("gougu_minus N_0 N_1", [3, 5], [4], None),
    ("gougu_minus N_0 N_1", [5, 5], [False], [0]),
    ("cal_circle_area N_0", [2], [12.566370614359172], None),
    ("cal_cone N_0 N_1", [3, 5], [47.12388980384689], None),
    ("g_add C_5 C_6", [], [3.759592653589793], None),
    ("g_sin N_0 g_add V_0 N_1", [37, 5], [False, 5], [0.6018150231520483, 5.601815023152048]),
    ("g_tan C_2 g_mul V_0 N_0", [7], [False, 0], ABORT),
    ("gougu_minus N_0 N_0 g_sin V_0", [7], [False, 0.0], [0, 0]),
    ("g_divide N_0 N_1 g_divide V_0 N_0", [6, 0], [False, False], ABORT),
    ("g_mul N_0 N_0", [1e200], [math.inf], ABORT),
    ("g_equal N_10", [11, 22], [11], SYNTAX),
    ("g_equal N_-1", [11, 22], [22], SYNTAX),
    ("g_equal NUM_1", [11, 22], [22], SYNTAX),
    ("g_equal C_12", [1], [90], SYNTAX),
    ("g_equal N_x", [11, 22], (REJECTED, "ValueError"), SYNTAX),
    ("g_equal C_8", [1], REJECTED, SYNTAX),
    ("g_equal V_0", [1], REJECTED, SYNTAX),
    ("g_add V_0 N_0", [1], REJECTED, SYNTAX),
    ("g_add N_0", [1, 2], REJECTED, SYNTAX),
    ("g_add N_0 N_1 N_0", [1, 2], REJECTED, SYNTAX),
    ("g_add N_0 N_1 g_half", [1, 2], REJECTED, SYNTAX),
    ("g_half N_0 g_half N_9", [8, 1], REJECTED, SYNTAX),
    ("g_foo N_0", [1], REJECTED, SYNTAX),
    ("g_half 30", [8], REJECTED, SYNTAX),
    ("", [1], [], None),
    ("NUM", [1], REJECTED, SYNTAX),
]


def same(found, wanted):
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        assert (a is False) == (b is False)
        assert a == b or math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-30)


@pytest.mark.parametrize(("program", "numbers", "official", "strict"), EXAMPLES)
def test_the_official_executor_keeps_the_quirks(program, numbers, official, strict):
    found = execute(program, numbers, mode="official")
    if official == REJECTED or isinstance(official, tuple):
        assert found.results is None
        assert found.error == (official[1] if isinstance(official, tuple) else None)
    else:
        same(found.results, official)


@pytest.mark.parametrize(("program", "numbers", "official", "strict"), EXAMPLES)
def test_the_strict_executor_says_where_it_stops(program, numbers, official, strict):
    if strict == SYNTAX:
        with pytest.raises(DataError, match=r"token \d"):
            execute(program, numbers)
        return
    found = execute(program, numbers)
    if strict == ABORT:
        assert found.results is None
        assert isinstance(found.error, Abort)
    else:
        same(found.results, official if strict is None else strict)


def test_an_abort_names_step_operator_and_reason():
    assert str(execute("g_half N_0 g_tan C_2", [1]).error) == "step 2: tan of 90 is undefined"


def test_a_syntax_error_says_which_value_is_missing():
    with pytest.raises(DataError, match=r"token 5: V_2 does not exist yet \(1 step so far\)"):
        parse("g_half N_0 g_add N_0 V_2", 1)


def test_no_numbers_are_a_type_error_of_the_authors():
    assert execute("g_half C_2", None, mode="official") == execute("", None, mode="official")
    assert execute("", None, mode="official").error == "TypeError"


@pytest.mark.parametrize(
    ("value", "choices", "official", "fits"),
    [
        (7, (7, 7, 8, 9), 1, [0, 1]),
        (7.0, (7.0009, 7.5, 8, 9), 0, [0]),
        (7.0, (7.001, 7.5, 8, 9), None, []),
        (7.0, (6.9991, 7.0005, 8, 9), 1, [0, 1]),
        (False, (None, 0, 1, 2), 1, None),
    ],
)
def test_the_option_rules(value, choices, official, fits):
    assert official_choice(value, choices) == (official, None)
    if fits is None:
        assert choose(value, choices) is None
    else:
        assert matches(value, choices) == fits
        assert choose(value, choices) == (fits[0] if len(fits) == 1 else None)


def test_fewer_than_four_options_are_an_exception_of_the_authors():
    assert official_choice(7, (7, 8)) == (None, "IndexError")
    assert official_choice(7, None) == (None, "TypeError")


def random_program(draw):
    steps, tokens = draw.randrange(1, 6), []
    for j in range(steps):
        op = draw.choice(sorted(ARITY))
        tokens.append(op)
        for _ in range(ARITY[op]):
            kinds = ["N", "C"] + (["V"] if j else [])
            kind = draw.choice(kinds)
            tokens.append(f"{kind}_{draw.randrange({'N': 3, 'C': 7, 'V': j}[kind])}")
    return tokens


def test_official_agrees_with_the_reference_and_strict_where_nothing_refuses():
    draw = random.Random(0)
    plain = 0
    for _ in range(3000):
        tokens = random_program(draw)
        numbers = [draw.choice([1.0, 30.0, 0.5, 7.25, 60.0, 90.0]) for _ in range(3)]
        official = execute(tokens, numbers, mode="official")
        wanted = run(tokens, numbers)
        same([str(v) for v in official.results], [str(v) for v in wanted])
        if False not in official.results and all(map(math.isfinite, official.results)):
            strict = execute(tokens, numbers)
            if strict.results is not None:
                plain += 1
                same(strict.results, official.results)
        assert unparse(parse(tokens, 3)) == " ".join(tokens)
    assert plain > 500


def test_random_tokens_never_raise():
    draw = random.Random(1)
    words = [*ARITY, "N_0", "N_7", "V_0", "C_9", "x", "N_", "", "E_1", "=", "30", "N_²"]
    for _ in range(3000):
        tokens = [draw.choice(words) for _ in range(draw.randrange(8))]
        execute(tokens, [1.0], mode="official")
        try:
            execute(tokens, [1.0])
        except DataError:
            continue


def test_the_dialect_adds_two_constants_and_a_root():
    assert execute("g_sqrt C_7", [], dialect="geoqa+").value == math.sqrt(72)
    assert execute("g_sqrt C_7", [], mode="official").results is None


FORMS = [
    ("g_sin N_0", [60], "√3/2"), ("g_cos N_0", [30], "√3/2"), ("g_tan N_0", [60], "√3"),
    ("g_tan N_0", [30], "√3/3"), ("g_sin N_0", [45], "√2/2"), ("gougu_add N_0 N_0", [1], "√2"),
    ("gougu_minus N_0 N_1", [8, 2], "2√15"), ("cal_circle_area N_0", [2.5], "25π/4"),
    ("cal_circle_perimeter N_0", [3], "6π"), ("cal_cone N_0 N_1", [3, 5], "15π"),
    ("g_half N_0 gougu_minus N_0 V_0", [6], "3√3"), ("g_divide N_0 N_1", [2, 3], "2/3"),
    ("g_bili N_0 N_1 N_2", [1, 3, 2], "2/3"), ("g_asin N_0", [0.5], "30"),
    ("g_acos N_0", [0.5], "60"), ("g_add N_0 N_1", [0.1, 0.2], "3/10"),
    ("g_minus C_3 N_0 g_half V_0", [50], "65"), ("gougu_add N_0 N_1", [1, 2], "√5"),
    ("g_sin N_0 g_mul V_0 N_1", [60, 8], "4√3"), ("g_equal C_6", [], "309/500"),
]  # fmt: skip


@pytest.mark.parametrize(("program", "numbers", "form"), FORMS)
def test_closed_forms_read_as_a_textbook_writes_them(program, numbers, form):
    terms = exact.evaluate(program, numbers)
    assert exact.pretty(exact.text(terms[-1])) == form
    assert exact.agrees(terms[-1], execute(program, numbers).value)


def test_a_value_that_is_not_real_has_no_closed_form():
    assert exact.evaluate("g_divide N_0 N_1", [1, 0]) is None
