"""The recipes that are shipped: each reads, says what it is, resolves, and is one whole file."""

import json
import re
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from qr_cli.engine.recipe import Recipe
from qr_cli.engine.resolve import leaves, read_recipe, resolve, shipped

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "recipes").rglob("*.yaml"))
CLASSES = {"attention": "qr_cli.attention.recipe:Attention"}
EVALUATIONS = {"attention": "qr_cli.attention.recipe:AttentionEval"}
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
    recipe = resolve(recipe_class(CLASSES[task]), file=read_recipe(task, file.stem))
    assert recipe.task == task


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_recipe_says_aim_hardware_time_command_and_figure(file):
    said = header(file)
    assert not [key for key in HEADER if not said.get(key)]
    assert re.search(r"\d", said["figure"]) or "not run" in said["figure"]
    assert f"--recipe {file.stem}" in said["command"]
    assert said["command"].startswith(f"qr train {file.parent.name}")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_recipe_names_nothing_of_one_machine(file):
    values = yaml.safe_load(file.read_text("utf-8"))
    assert not {"name", "out", "seeds", "device"} & set(values.get("run", {}))
    assert "data_root" not in values.get("data", {})


@pytest.mark.parametrize("target", [*CLASSES.values(), *EVALUATIONS.values()])
def test_flags_are_unique_and_described_in_a_line(target):
    found = leaves(recipe_class(target))
    assert len({leaf.flag for leaf in found}) == len(found)
    for leaf in found:
        text = leaf.field.description
        assert text and len(text) <= 60, leaf.flag
        assert text[0].isupper() or text[0] == "$", leaf.flag
        assert text[-1] in ".:", leaf.flag


@pytest.mark.parametrize("target", [*CLASSES.values(), *EVALUATIONS.values()])
def test_a_json_schema_can_be_produced_and_forbids_other_keys(target):
    schema = json.loads(json.dumps(recipe_class(target).model_json_schema()))
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == set(recipe_class(target).model_fields)


@pytest.mark.parametrize("target", [*CLASSES.values(), *EVALUATIONS.values()])
def test_the_defaults_are_valid_and_survive_yaml(target):
    kind = recipe_class(target)
    recipe = kind.model_validate({})
    again = yaml.safe_load(yaml.safe_dump(recipe.model_dump(mode="json")))
    assert kind.model_validate(again) == recipe
