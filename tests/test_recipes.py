"""The recipes that are shipped: each reads, says what it is, resolves, and is one whole file."""

import json
import re
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from qr_cli.attention.insert import collect_aux_loss
from qr_cli.attention.recipe import Attention
from qr_cli.attention.summary import build, summarize
from qr_cli.attention.task import AttentionTask
from qr_cli.engine.recipe import Recipe
from qr_cli.engine.resolve import leaves, read_recipe, resolve, shipped

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "recipes").rglob("*.yaml"))
CLASSES = {
    "attention": "qr_cli.attention.recipe:Attention",
    "reparam": "qr_cli.reparam.recipe:Reparam",
    "fuse": "qr_cli.fuse.recipe:Fuse",
    "geo": "qr_cli.geo.train_recipe:GeoTrain",
    "handoff": "qr_cli.handoff.recipe:Handoff",
    "generate": "qr_cli.generate.recipe:SurTrain",
}
OWN = {"tiny-sd": "qr_cli.generate.tiny_recipe:TinySd"}  # recipes of another class of their room
EVALUATIONS = {
    "attention": "qr_cli.attention.eval_recipe:AttentionEval",
    "fuse": "qr_cli.fuse.recipe:FuseEval",
    "handoff": "qr_cli.handoff.eval_recipe:HandoffEval",
    "generate": "qr_cli.generate.eval_recipe:GenerateEval",
    "ask": "qr_cli.handoff.ask_recipe:Ask",
}
COMMANDS = {
    "attention": ("qr train attention",),
    "reparam": ("qr reparam",),
    "fuse": ("qr fuse", "qr eval fuse"),
    "geo": ("qr train geo",),
    "handoff": ("qr train handoff",),
    "generate": ("qr train sur-adapter", "qr eval generate", "qr data tiny-sd build"),
}
TRAINED = [file for file in FILES if file.parent.name == "attention"]
CLASSES_OF = {"cifar10": 10, "cifar100": 100, "stl10": 10, "imagenet": 1000, "shapes": 10}
PARAMETERS = {  # of the network of a recipe, with the classes of its data
    "shapes": 274_847,
    "shapes-bias": 272_474,
    "cifar10-jpeg": 272_474,
    "qrange-cifar": 1_929_388,
    "qrange-stl10": 1_929_388 - 23_130,
    "spem-cifar": 1_759_648,
    "sem-cifar": 1_970_104,
    "ras-cifar": 1_759_540,
    "lsas-cifar": 1_888_852,
    "stepnet-cifar": 2_026_156,
    "qrange-imagenet": 28_088_024,
    "lsas-imagenet-r50": 27_953_960,
    "asr-cifar10": 275_183,
    "asr-cifar10-small": 275_183,
    "asr-srp-cifar10": 304_666 + 2_709,
    "asr-cifar100-r164": 1_937_452,
}
HEADER = ("aim", "hardware", "time", "command", "figure")


def recipe_class(target: str) -> type[Recipe]:
    module, name = target.split(":")
    return getattr(import_module(module), name)


def header(file: Path) -> dict[str, str]:
    """Return the fields of the comment at the top: ``# aim: ...``."""
    lines = []
    for line in file.read_text("utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# ").rstrip())
    found = re.split(r"(?:^|(?<=\. ))([A-Z]\w+): ", "\n".join(lines), flags=re.MULTILINE)
    return {key.lower(): value for key, value in zip(found[1::2], found[2::2], strict=True)}


@pytest.mark.skipif(not FILES, reason="no recipe is shipped yet")
def test_every_folder_of_recipes_has_a_recipe_class():
    assert {file.parent.name for file in FILES} <= set(CLASSES)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_recipe_is_found_by_its_name_and_resolves(file):
    task = file.parent.name
    assert shipped(task)[file.stem] == file
    values = read_recipe(task, file.stem)
    table = EVALUATIONS if "question" in values else CLASSES
    recipe = resolve(recipe_class(OWN.get(file.stem, table[task])), file=values)
    assert getattr(recipe, "task", task) == task


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_recipe_says_aim_hardware_time_command_and_figure(file):
    said = header(file)
    assert not [key for key in HEADER if not said.get(key)]
    assert re.search(r"\d", said["figure"]) or "not run" in said["figure"]
    assert f"--recipe {file.stem}" in said["command"]
    assert said["command"].startswith(COMMANDS[file.parent.name])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_recipe_names_nothing_of_one_machine(file):
    values = yaml.safe_load(file.read_text("utf-8"))
    assert not {"name", "out", "seeds", "device"} & set(values.get("run", {}))
    assert "data_root" not in values.get("data", {})


@pytest.mark.parametrize("target", [*CLASSES.values(), *OWN.values(), *EVALUATIONS.values()])
def test_flags_are_unique_and_described_in_a_line(target):
    found = leaves(recipe_class(target))
    assert len({leaf.flag for leaf in found}) == len(found)
    for leaf in found:
        text = leaf.field.description
        assert text and len(text) <= 60, leaf.flag
        assert text[0].isupper() or text[0] == "$", leaf.flag
        assert text[-1] in ".:", leaf.flag


@pytest.mark.parametrize("target", [*CLASSES.values(), *OWN.values(), *EVALUATIONS.values()])
def test_a_json_schema_can_be_produced_and_forbids_other_keys(target):
    schema = json.loads(json.dumps(recipe_class(target).model_json_schema()))
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == set(recipe_class(target).model_fields)


@pytest.mark.parametrize("target", [*CLASSES.values(), *OWN.values(), *EVALUATIONS.values()])
def test_the_defaults_are_valid_and_survive_yaml(target):
    kind = recipe_class(target)
    recipe = kind.model_validate({})
    again = yaml.safe_load(yaml.safe_dump(recipe.model_dump(mode="json")))
    assert kind.model_validate(again) == recipe


def test_the_handoff_recipes_of_the_specification_are_there():
    assert {file.stem for file in FILES if file.parent.name == "handoff"} >= {
        *("makeup2-lr", "makeup2-gru", "makeup2-gru-cem", "makeup2-rssn-cem", "dbdc3-en"),
        *("makeup2-cem-released", "clothing-lr", "clothing-dami-cem", "bert-folder"),
    }


def test_the_generate_recipes_of_the_specification_are_there():
    assert {file.stem for file in FILES if file.parent.name == "generate"} >= {
        *("sur-tiny", "sur-tiny-minilm", "sur-tiny-official", "sur-tiny-ablation", "tiny-sd"),
        *("sur-sd15", "sur-sd15-official", "sur-sd21", "eval-tiny"),
    }


def test_the_geo_recipes_of_the_specification_are_there():
    assert {file.stem for file in FILES if file.parent.name == "geo"} == {
        *("tiny", "tiny-smoke", "tiny-novision", "tiny-nomep", "tiny-noaux"),
        *("unigeo-mep", "unigeo-official", "unigeo-long", "finetune-own"),
    }


def attention_recipe(name: str) -> Attention:
    return resolve(Attention, file=read_recipe("attention", name))


@pytest.mark.parametrize("file", TRAINED, ids=lambda file: file.stem)
def test_a_recipe_can_be_planned(file):
    """Generated images stand in for data that would have to be fetched."""
    recipe = attention_recipe(file.stem)
    classes = CLASSES_OF[re.match("[a-z0-9]+", recipe.data.data)[0]]
    recipe = recipe.changed("data", data="shapes(test=20,train=400)")
    plan, places = summarize(recipe.changed("model", num_classes=classes))
    assert plan["parameters"] == PARAMETERS.get(file.stem, plan["parameters"])
    assert plan["steps"] >= 1 and plan["flops"] > 0
    assert bool(places) == (recipe.model.module != "none")


def test_the_recipes_of_the_specification_are_there():
    assert {file.stem for file in FILES if file.parent.name == "attention"} >= set(PARAMETERS) | {
        *("smoke", "cifar10-finetune", "ticket-sge-r50", "ticket-dia-r50")
    }


@pytest.mark.parametrize("name", ["qrange-cifar", "qrange-stl10", "ras-cifar"])
def test_the_authors_rate_falls_at_epochs_81_and_122(name):
    recipe = attention_recipe(name).changed("data", data="shapes(test=10,train=40)")
    recipe = recipe.changed("model", arch="qr:resnet8", module="se")
    parts = AttentionTask(recipe.changed("loader", batch_size=20)).parts(rank=0, world=1)
    optimizer, scheduler = parts.optimizers["main"], parts.schedulers["main"]
    group = optimizer.param_groups[0]
    rates = []
    for _ in range(164):
        rates.append(group["lr"])
        for _ in range(len(parts.train)):
            optimizer.step()
            scheduler.step()
    assert [rates[epoch] for epoch in (0, 80, 81, 121, 122, 163)] == pytest.approx(
        [0.1, 0.1, 0.01, 0.01, 0.001, 0.001], rel=1e-12
    )
    for group in optimizer.param_groups:
        assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.9, False, 1e-4)


def test_spem_at_depth_164_starts_with_an_auxiliary_loss_of_27():
    assert collect_aux_loss(build(attention_recipe("spem-cifar"), 100)).item() == 27.0


@pytest.mark.parametrize("name", ["ticket-sge-r50", "ticket-dia-r50"])
def test_a_ticket_has_one_module_per_stage_in_nine_of_sixteen_blocks(name):
    recipe = attention_recipe(name).changed("data", data="shapes(test=20,train=400)")
    _, places = summarize(recipe)
    assert len(places) == 9
    assert recipe.model.blocks.replace(" ", "").count("0") == 7
