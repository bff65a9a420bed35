"""The Python API: the commands' recipes, folders and faults."""

import subprocess
import sys

import pytest
import torch
from conftest import ROOT

import qr_cli
from qr_cli.attention.recipe import Attention
from qr_cli.errors import RecipeError, UsageError, WeightsError


def test_importing_the_package_imports_no_torch():
    code = "import sys, qr_cli; sys.exit('torch' in sys.modules or 'pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.parametrize("name", qr_cli.__all__)
def test_every_public_name_is_there(name):
    assert getattr(qr_cli, name) is not None
    assert name in dir(qr_cli)


def test_the_questions_are_reached_through_their_room_and_load_nothing_before():
    code = (
        "import sys, qr_cli as qr; qr.attention; assert 'torch' not in sys.modules; "
        "a = qr.attention; print([f.__name__ for f in (a.cam.grad_cam, a.bias.bias, "
        "a.stiffness.stiffness, a.stripes.collect, a.shapes.shapes, a.robust.disturb)])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    names = ["grad_cam", "bias", "stiffness", "collect", "shapes", "disturb"]
    assert done.stdout.strip() == str(names), done.stderr


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'qr_cli' has no attribute 'nothing'"):
        qr_cli.nothing  # noqa: B018


def test_run_takes_flags_with_underscores(received):
    qr_cli.run("train", "attention", module="lsas", batch_size=32, milestones=[3, 5], out="x")
    (call,) = received
    recipe = call["recipe"]
    assert isinstance(recipe, Attention)
    assert (recipe.model.module, recipe.loader.batch_size) == ("lsas(se)", 32)
    assert (recipe.schedule.milestones, recipe.run.out) == ((3, 5), "x")
    assert call["command"] == "qr_cli.run('train', 'attention')"


def test_run_says_nothing(received, capfd):
    qr_cli.run("train", "attention")
    assert capfd.readouterr() == ("", "")


def test_run_starts_from_a_recipe_and_settings_win(received, trained):
    qr_cli.run("train", "attention", recipe=str(trained), epochs=7, resume=True)
    (call,) = received
    assert (call["recipe"].model.arch, call["recipe"].schedule.epochs) == ("qr:resnet8", 7)
    assert (call["resume"], call["overwrite"]) == (True, False)


def test_eval_returns_the_records(trained):
    (record,) = qr_cli.run("eval", "attention", runs=(str(trained),), device="cpu")
    assert record["event"] == "eval"


def test_load_returns_a_network_that_answers(trained):
    net = qr_cli.load(trained)
    with torch.no_grad():
        assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_create_attention_gives_a_plain_module():
    gate = qr_cli.create_attention("lsas(eca,order=2)", 32)
    maps = torch.randn(2, 32, 5, 4)
    assert gate(maps).shape == maps.shape


def test_unknown_names_are_faults_with_a_near_miss(trained):
    with pytest.raises(UsageError, match=r"unknown job 'trian attention' \(did you mean 'train"):
        qr_cli.run("trian", "attention")
    with pytest.raises(RecipeError, match=r"unknown setting 'epoch' \(did you mean 'epochs'\?\)"):
        qr_cli.run("train", "attention", epoch=3)
    with pytest.raises(UsageError, match=r"unknown attention module 'lsass'"):
        qr_cli.create_attention("lsass", 32)
    with pytest.raises(WeightsError, match="holds no checkpoint"):
        qr_cli.load("nowhere")


def test_faults_are_builtins_too():
    with pytest.raises(ValueError, match="--lr: should be greater than 0, got -1"):
        qr_cli.run("train", "attention", lr=-1)


@pytest.mark.parametrize("settings", [{"seeds": (0, 1)}, {"num_processes": 2}])
def test_a_call_that_would_be_several_is_refused(received, settings):
    with pytest.raises(UsageError, match="one run in one process"):
        qr_cli.run("train", "attention", **settings)
    assert not received


def test_a_checkpoint_of_an_unknown_task_has_no_loader(tmp_path):
    (tmp_path / "model.json").write_text('{"task": "cooking"}', "utf-8")
    with pytest.raises(UsageError, match="checkpoint of 'cooking', which has no loader"):
        qr_cli.load(tmp_path)
