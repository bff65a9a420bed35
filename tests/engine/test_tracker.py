"""A tracker is told what metrics.jsonl is told: read back by TensorBoard's own reader."""

import math

import pytest
import toy

from qr_cli.errors import EnvironmentFault


def test_tensorboard_reads_back_the_figures_of_the_run():
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from qr_cli.engine.run import RunFolder

    finished, _ = toy.run(run__tracker="tensorboard", schedule__epochs=3)
    held = EventAccumulator(str(finished.folder / "qr-toy"))
    held.Reload()
    epochs = [r for r in RunFolder(finished.folder).records() if r["event"] == "epoch"]
    for name in ("loss", "test_loss", "twice"):
        told = [(event.step, event.value) for event in held.Scalars(f"epoch/{name}")]
        assert [step for step, _ in told] == [record["step"] for record in epochs]
        for (_, value), record in zip(told, epochs, strict=True):
            assert math.isclose(value, record[name], rel_tol=1e-6)  # it keeps float32


def test_a_resumed_run_goes_on_in_the_same_curves():
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def stop(tick):
        if tick == 10:  # seven updates an epoch
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        toy.run(run__tracker="tensorboard", at=stop)
    finished, _ = toy.run(run__tracker="tensorboard", resume=True)
    held = EventAccumulator(str(finished.folder / "qr-toy"))
    held.Reload()
    assert [event.step for event in held.Scalars("epoch/loss")] == [7, 14, 21]


def test_the_extra_of_a_tracker_is_named(monkeypatch):
    monkeypatch.setattr("qr_cli.engine.accelerator.get_available_trackers", list)
    with pytest.raises(EnvironmentFault, match="the package of tensorboard") as caught:
        toy.run(run__tracker="tensorboard")
    assert caught.value.hint == "pip install 'qr-cli[tracking]'"
