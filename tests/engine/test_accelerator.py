"""What is said of a machine before anything runs on it."""

import pytest

from qr_cli.engine import accelerator
from qr_cli.engine.recipe import Run


@pytest.mark.parametrize(
    ("native", "precision", "warnings"),
    [(False, "bf16", 1), (True, "bf16", 0), (False, "fp32", 0)],
)
def test_emulated_bf16_is_said_once(native, precision, warnings, monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(accelerator, "computes_bf16", lambda: native)
    accelerator._warn_of_bf16.cache_clear()
    for _ in range(2):
        accelerator.make_accelerator(Run(device="cpu", precision=precision), tmp_path)
    said = [record.getMessage() for record in caplog.records if "bf16" in record.getMessage()]
    assert len(said) == warnings
    assert all("--precision fp32" in line for line in said)


def test_whether_bf16_is_native_is_a_fact_of_the_machine():
    assert accelerator.computes_bf16() in (True, False)
