"""What a dry run says of a recipe: costs, start gate, places, steps."""

import json
import os
import subprocess
import sys
from pathlib import Path

import parameter_tables as tables
import pytest

from qr_cli.attention.modules.contract import ChannelAttention
from qr_cli.attention.names import MODULES
from qr_cli.attention.recipe import Attention
from qr_cli.attention.summary import summarize
from qr_cli.errors import UsageError

ROOT = Path(__file__).parents[2]
PLANNED = """
import json, sys
from qr_cli.cli.app import run
code = run(["train", "attention", "--dry-run", "--json", *sys.argv[1:]])
print(json.dumps({"code": code, "loaded": sorted(sys.modules)}), file=sys.stderr)
"""
HEAVY = {
    *("torch._dynamo", "torch._inductor", "sympy", "accelerate", "torchvision", "timm"),
    *("matplotlib", "scipy", "transformers"),
}
FULL = {"share": "share(se)"}  # a name that needs something inside


def plan(arch="resnet8", module="se", *, side=32, classes=10, **sections):
    model = {"arch": arch, "module": module, "num_classes": classes}
    values = {
        "model": model | sections.pop("model", {}),
        "data": {"data": f"shapes(size={side},test=20,train=100)"},
    }
    record, places = summarize(Attention.model_validate(values | sections))
    assert record["places"] == [place.name for place in places]
    return record


CELLS = [
    (arch, module, classes, side, count)
    for (arch, classes, side), row in tables.FLOPS.items()
    for module, count in zip(("spem", *tables.FLOP_MODULES), row, strict=True)
    if arch in ("resnet20", "resnet164")
]


@pytest.mark.parametrize(("arch", "module", "classes", "side", "count"), CELLS)
def test_a_plan_counts_the_operations_of_the_table(arch, module, classes, side, count):
    assert plan(arch, module, side=side, classes=classes)["flops"] == count


@pytest.mark.parametrize(
    ("arch", "module", "classes", "side", "count"),
    [row for row in tables.FLOP_SINGLES if row[:2] in {("resnet164", "se"), ("resnet18", "lsas")}],
)
def test_a_plan_counts_larger_images_too(arch, module, classes, side, count):
    assert plan(arch, module, side=side, classes=classes)["flops"] == count


def test_a_network_that_the_meta_device_cannot_build_is_refused_in_words():
    with pytest.raises(UsageError, match="RegNet is not supported yet"):
        plan("torchvision:regnet_y_400mf")


@pytest.mark.parametrize("name", MODULES.all())
def test_every_module_can_be_planned(name):
    record = plan(module=FULL.get(name, name))
    assert record["flops"] > plan(module="none")["flops"] - 1
    assert 0 < record["start_gate"] < 2
    assert record["attention_modules"] == len(record["places"]) > 0


@pytest.mark.parametrize(
    ("module", "gate"), [("none", 1), ("ie", 0.26894142), ("spem", 0.0320586), ("bam", 1.5)]
)
def test_a_plan_says_how_open_attention_starts(module, gate):
    assert plan(module=module)["start_gate"] == pytest.approx(gate, abs=0.02)


def test_attention_that_starts_as_the_identity_is_open():
    assert plan(module="spem", model={"identity_start": "yes"})["start_gate"] == 1.0
    assert plan(module="spem", model={"weights": "FILE"})["start_gate"] == 1.0


def test_of_a_start_from_a_run_no_start_gate_is_claimed():
    assert plan(model={"checkpoint": "runs/attention/se-s0"})["start_gate"] is None


def test_a_plan_names_its_convention_and_places():
    record = plan(module="lsas")
    assert "2 x multiply-add" in record["flops_counted"]
    assert record["places"] == ["layer3.0.attn"]


@pytest.mark.parametrize(
    ("loader", "steps"),
    [
        ({"batch_size": 16}, 7),
        ({"batch_size": 16, "drop_last": True}, 6),
        ({"batch_size": 16, "accumulate": 2}, 4),
        ({"batch_size": 200}, 1),
    ],
)
def test_steps_are_those_of_the_loader(loader, steps):
    record = plan(loader=loader, schedule={"epochs": 3})
    assert (record["steps_per_epoch"], record["steps"]) == (steps, 3 * steps)


class Asks(ChannelAttention):
    """Looks at the values of its map, which there are none of on the meta device."""

    squeeze_kind = "mean"

    def gate(self, f, ctx=None):
        return f.new_full((1, self.channels, 1, 1), 0.5 if f.mean().item() > 0 else 1.0)

    def forward(self, f, ctx=None):
        return self.gate(f, ctx) * f

    def reset_parameters(self):
        pass


def test_operations_that_depend_on_values_are_left_out_and_said(caplog, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    record = plan("resnet18", f"{__name__}:Asks")
    assert record["flops"] is None
    assert "operations are not counted" in caplog.text


@pytest.mark.parametrize(
    "module",
    ["dia", *(pytest.param(m, marks=pytest.mark.slow) for m in ("se", "sem(fc,eca,ie)"))],
)
def test_a_dry_run_of_a_cifar_net_loads_no_compiler_and_nothing_else_it_does_not_need(module):
    done = subprocess.run(
        [sys.executable, "-c", PLANNED, "--module", module],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    told = json.loads(done.stderr.splitlines()[-1])
    assert told["code"] == 0
    assert json.loads(done.stdout)["flops"] > 81_626_367
    assert not set(told["loaded"]) & HEAVY
