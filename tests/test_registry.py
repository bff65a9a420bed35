"""Tables of names: shipped, of third parties, or named directly as module:Class."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from qr_cli.errors import UsageError
from qr_cli.registry import Entry, Registry, import_target


@pytest.fixture
def table():
    return Registry(
        "fruit",
        {
            "apple": Entry("json:dumps", "A fruit."),
            "pear": Entry("no_such_module_here:Pear", "A broken one."),
        },
        group="qr_cli.fruits",
        listing="qr list fruits",
    )


@pytest.fixture
def installed(monkeypatch):
    """Two entry points of somebody's package, one under a name that is taken."""
    points = [
        EntryPoint("quince", "json:loads", "qr_cli.fruits"),
        EntryPoint("apple", "json:loads", "qr_cli.fruits"),
    ]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)


def test_a_shipped_name_gives_what_it_stands_for(table):
    import json

    assert table.load("apple") is json.dumps
    assert "apple" in table
    assert set(table) == {"apple", "pear"}


def test_listing_a_table_imports_nothing(table):
    assert table.all()["pear"].summary == "A broken one."
    assert "no_such_module_here" not in sys.modules


def test_an_unknown_name_is_told_with_the_nearest_one(table):
    with pytest.raises(UsageError) as caught:
        table.load("aple")
    assert caught.value.message == "unknown fruit 'aple' (did you mean 'apple'?)"
    assert caught.value.hint == "qr list fruits"
    with pytest.raises(UsageError, match="^unknown fruit 'xyzzy'$"):
        table.load("xyzzy")


def test_an_entry_point_adds_a_name_and_replaces_none(table, installed):
    import json

    assert table.load("quince") is json.loads
    assert table.load("apple") is json.dumps
    assert table.all()["quince"].summary == "from json:loads"


def test_a_misspelt_entry_point_has_a_near_name_too(table, installed):
    with pytest.raises(UsageError, match=r"did you mean 'quince'"):
        table.load("quinze")


def test_a_class_is_named_directly(table, tmp_path, monkeypatch):
    Path("my_own_fruit.py").write_text("class Fig: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert table.load("my_own_fruit:Fig").__name__ == "Fig"


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("no_such_module_here:Fig", "no module named 'no_such_module_here'"),
        ("json.nothing:Fig", "no module named 'json.nothing'"),
        ("json:Fig", "json has no 'Fig'"),
        ("json:", "names no object"),
        ("json", "names no object"),
    ],
)
def test_a_target_that_is_not_there_is_a_fault_of_use(target, words):
    with pytest.raises(UsageError) as caught:
        import_target(target)
    assert repr(target) in caught.value.message
    assert words in caught.value.message
