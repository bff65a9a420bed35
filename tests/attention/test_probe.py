"""What a run notes of its gates: records, the start, what a resumed run repeats."""

import json
import signal

import pytest
import torch
from accelerate import Accelerator

import qr_cli
from qr_cli.attention import probe, stripes
from qr_cli.attention.backbones.create import create_backbone
from qr_cli.attention.recipe import Attention
from qr_cli.attention.task import AttentionTask
from qr_cli.engine.train import train
from qr_cli.errors import Interrupted, UsageError

SMALL = {
    "model": {"arch": "resnet8", "module": "spem"},
    "data": {"data": "shapes(size=16,test=40,train=96)"},
    "loader": {"batch_size": 32},
    "schedule": {"epochs": 3},
    "gates": {"probe": True, "stripes": True},
    "run": {"name": "run", "device": "cpu", "log_steps": 1},
}
TIMES = ("seconds", "data_seconds", "images_per_s", "run", "checkpoint")


class Listener:
    """Raises Ctrl-C after an update of this process."""

    def __init__(self, stop=None):
        self.stop, self.ticks = stop, 0

    def record(self, record):
        pass

    def tick(self, **progress):
        self.ticks += 1
        if self.ticks == self.stop:
            signal.raise_signal(signal.SIGINT)


def run(out, *, stop=None, resume=False, **sections):
    values = {key: value | sections.get(key, {}) for key, value in SMALL.items()}
    values["run"] |= {"out": str(out)}
    recipe = Attention.model_validate(values)
    return train(recipe, AttentionTask, Listener(stop), command="", resume=resume)


def records(finished, event=None):
    lines = (finished.folder / "metrics.jsonl").read_text("utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    return [r for r in found if event is None or r["event"] == event]


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """Unbroken runs by module."""
    done = {}

    def once(module):
        if module not in done:
            out = tmp_path_factory.mktemp("straight")
            done[module] = run(out, model={"module": module})
        return done[module]

    return once


def test_probe_records_have_the_fields_of_the_specification(straight):
    found = records(straight("spem"), "probe")
    assert [(r["epoch"], r["stage"]) for r in found] == [
        (epoch, stage) for epoch in range(4) for stage in (1, 2, 3)
    ]
    for record in found:
        assert list(record) == [*("event", "epoch", "stage", "gate_mean", "gate_std", "spem_q0")]
        (share,) = record["spem_q0"]  # one block per stage
        assert 0 <= share <= 1
    for record in found[:3]:
        assert record["gate_mean"] == pytest.approx(0.03205860, abs=1e-7)
        assert (record["gate_std"], record["spem_q0"]) == (pytest.approx(0, abs=1e-9), [0.5])


def test_other_modules_have_no_mix(straight):
    assert {r["spem_q0"] for r in records(straight("ras"), "probe")} == {None}


def test_stripes_are_those_of_the_start_and_of_every_epoch(straight):
    found = records(straight("ras"), "stripes")
    assert [(r["epoch"], r["block"]) for r in found] == [
        (epoch, f"layer{stage}.0") for epoch in range(4) for stage in (1, 2, 3)
    ]
    start = {r["block"]: r for r in found[:3]}
    for record in found[:3]:
        assert record["before"] is None
    for record in found[3:]:
        before = record["before"]
        assert before == {key: start[record["block"]][key] for key in before}
    assert {(r["run"], r["images"]) for r in found} == {("run", 40)}


def test_gates_are_averaged_over_the_blocks_of_a_stage():
    net = create_backbone("qr:resnet14", num_classes=10, module="se", seed=1).eval()
    images = torch.randn(6, 3, 16, 16)
    found = stripes.collect(net, images)
    for record in probe.stage_records(net, found):
        blocks = [s.v for s in found.values() if s.seat.stage == record["stage"]]
        values = torch.cat([v.flatten() for v in blocks])
        assert len(blocks) == 2
        assert record["gate_mean"] == pytest.approx(values.mean().item(), rel=1e-12)
        assert record["gate_std"] == pytest.approx(values.std(correction=0).item(), rel=1e-12)


def test_a_module_that_shows_no_gate_is_null():
    net = create_backbone("qr:resnet8", num_classes=10, module="timm:eca").eval()
    (record, *_) = probe.stage_records(net, stripes.collect(net, torch.randn(2, 3, 16, 16)))
    assert (record["gate_mean"], record["gate_std"]) == (None, None)


@pytest.mark.parametrize(
    "module", ["spem", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ras", "dia"))]
)
@pytest.mark.parametrize(
    "stop", [2, *(pytest.param(stop, marks=pytest.mark.slow) for stop in (3, 5))]
)
def test_a_run_stopped_and_resumed_equals_the_unbroken_one(module, stop, straight, tmp_path):
    """Stopped inside the first epoch, at its end, and inside the second."""
    with pytest.raises(Interrupted):
        run(tmp_path, stop=stop, model={"module": module})
    again = run(tmp_path, resume=True, model={"module": module})
    pairs = zip(records(again), records(straight(module)), strict=True)
    for mine, theirs in pairs:
        kept = [key for key in theirs if key not in TIMES]
        assert {key: mine[key] for key in kept} == {key: theirs[key] for key in kept}
    weights = [
        (r.folder / "checkpoints/epoch-0003/model.safetensors").read_bytes()
        for r in (again, straight(module))
    ]
    assert weights[0] == weights[1]


def test_looking_changes_nothing(straight, tmp_path):
    blind = run(tmp_path, model={"module": "ras"}, gates={"probe": False, "stripes": False})
    assert not records(blind, "probe") and not records(blind, "stripes")
    seen, unseen = (records(r, "epoch") for r in (straight("ras"), blind))
    assert [r["test_loss"] for r in seen] == [r["test_loss"] for r in unseen]


def test_a_vanished_mix_is_said_once(caplog, tmp_path):
    recipe = Attention.model_validate(SMALL | {"gates": {}})
    task = AttentionTask(recipe)
    with torch.no_grad():
        for block in task.model.layer2:
            block.attn.p.fill_(1e-6)
    assert "layer2.0.attn: p_0^2 + p_1^2 of spem is 2e-12" in probe.vanished(task.model)

    task.parts(rank=0, world=1)
    task.model.eval()
    with torch.no_grad():
        for _ in range(2):
            list(task.evaluate({"main": task.model}, Accelerator(cpu=True)))
    assert caplog.text.count("of spem is") == 1


def test_a_mix_that_stands_says_nothing():
    assert probe.vanished(create_backbone("qr:resnet8", num_classes=10, module="spem")) is None


def test_a_compiled_network_is_looked_at_as_it_is_written():
    net = create_backbone("qr:resnet8", num_classes=10, module="se")
    net._compiled_call_impl = lambda *args: pytest.fail("the compiled pass was run")
    with probe._uncompiled(net):
        stripes.collect(net, torch.randn(2, 3, 16, 16))
    assert net._compiled_call_impl is not None


@pytest.mark.parametrize("flag", ["probe", "stripes"])
def test_without_attention_there_is_no_gate_to_look_at(flag):
    with pytest.raises(UsageError, match=f"--{flag}: --module none has no gate to look at"):
        qr_cli.run("train", "attention", module="none", **{flag: True})
