"""What the table of modules says of each."""

import pytest

from qr_cli.attention.catalog import catalog
from qr_cli.attention.names import MODULES

ROWS = {row["name"]: row for row in catalog()}
# what the equations give where parameters start at constants
GATES = {"eca": 0.5, "srm": 0.5, "ie": 0.26894142, "lsas": 0.18877033, "spem": 0.0320586}
GATES |= {"cbam": 0.25, "sge": 0.73105858}


def test_every_module_has_a_row():
    assert list(ROWS) == list(MODULES.all())
    assert all(row["parameters"] > 0 for row in ROWS.values())


@pytest.mark.parametrize("name", GATES)
def test_the_start_gate_is_that_of_the_equations(name):
    assert ROWS[name]["start_gate"] == pytest.approx(GATES[name], abs=0.02)


def test_parameters_are_those_of_256_channels():
    assert ROWS["se"]["parameters"] == 256 * 16 * 2 + 16 + 256
    assert ROWS["lsas"]["parameters"] == ROWS["se"]["parameters"] + 2 * 256
    assert ROWS["spem"]["parameters"] == 4 * 256 + 2


def test_a_reconstruction_is_called_one():
    assert "reconstruction" in ROWS["stepnet"]["summary"]
    assert ROWS["stepnet"]["provenance"]
