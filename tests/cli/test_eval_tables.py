"""What `qr eval attention` shows people: tables within 80 columns, and what it is doing."""

import io
import logging

import pytest
from rich.console import Console

from qr_cli.cli.eval_tables import show
from qr_cli.cli.output import Output, out
from qr_cli.cli.status import Status

LONG = "runs/attention/lsas-eca-order2-s0"
SHARES = dict.fromkeys(
    ("position", "range", "unbiased", "energy", "chance_energy", "pointing"), 1.0
)
FOUND = {
    "eval": [
        {"event": "eval", "run": LONG, "module": "lsas(eca,order=2)", "parameters": 25_557_032,
         "top1": 1.0, "top5": 1.0, "loss": 10.5, "data_note": None}
    ],
    "bias": [
        {"event": "bias", "run": "se-s0", "subset": subset, "control": control, "images": 50_000,
         **SHARES}
        for control in (False, True)
        for subset in ("all", "right", "wrong", "class:goldfish", "area:0-0.1")
    ],
    "stripes": [
        {"event": "stripes", "run": "se-s0", "block": "layer3.17.attn", "sigma_mean": 0.1, "S": 0.2,
         "before": {"S": 0.3}, "S_input": None, "drop_if_frozen": 0.0123}
    ],
    "stripes_total": [{"event": "stripes_total", "run": "se-s0", "drop": -0.01}],
    "ticket": [
        {"event": "ticket", "run": "se-s0", "order": "random", "draw": 0, "keep": 9, "top1": 0.5,
         "mask": "1101 0011 010011 111", "drop": -0.1, "drop_low": -0.2, "drop_high": -0.05}
    ],
    "report": [{"event": "report", "report": "runs/attention/compare-0123abcd/report.html"}],
}  # fmt: skip


@pytest.fixture
def terminal(monkeypatch):
    """A terminal of 80 columns; returns what it shows."""
    screen = io.StringIO()
    monkeypatch.setattr(out, "streams", False)
    monkeypatch.setattr(out, "quiet", False)
    monkeypatch.setattr(
        Output, "_console", lambda self, *, stderr: Console(file=screen, width=80, highlight=False)
    )
    monkeypatch.setattr(out, "_talk", None)
    yield screen
    out.configure()


def test_tables_fit_80_columns_and_say_shares_in_per_cent(terminal):
    show(FOUND)
    text = terminal.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    words = ("100.00", "lsas(eca,order=2)", "1101 0011 010011 111", "-20.00 to -5.00", "+1.23")
    for whole in (*words, "random 1", "all held", "hint: open runs/attention/compare-0123abcd"):
        assert whole in text
    assert "goldfish" not in text and text.count("untrained") == 2  # bias, and a column of stripes
    assert "S of input" not in text  # a column without a value


def test_nothing_is_shown_where_records_are_streamed(terminal, monkeypatch):
    monkeypatch.setattr(out, "streams", True)
    show(FOUND)
    assert terminal.getvalue() == ""


def test_off_a_terminal_every_subject_is_named_once(caplog):
    caplog.set_level(logging.INFO, "qr_cli")
    with Status(out) as status:
        for subject, job in (("se-s0", "accuracy"), ("se-s0", "bias"), ("se-s1", "accuracy")):
            status.doing(subject, job)
    assert [r.getMessage() for r in caplog.records] == ["se-s0: accuracy", "se-s1: accuracy"]


def test_on_a_terminal_one_line_turns_and_is_gone(monkeypatch, caplog):
    caplog.set_level(logging.INFO, "qr_cli")
    screen = io.StringIO()
    console = Console(file=screen, width=80, force_terminal=True)
    output = Output()
    monkeypatch.setattr(output, "talk", lambda: console)
    with Status(output) as status:
        status.doing("se-s0", "accuracy")
        status.doing("se-s0", "bias")
    assert "se-s0: bias" in screen.getvalue() and not caplog.records
    assert screen.getvalue().endswith("\x1b[2K")  # the line is erased
