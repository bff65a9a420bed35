"""What a training command makes of its flags and files: the recipe that the engine receives."""

import json

import pytest
import yaml

from qr_cli.attention.recipe import Attention
from qr_cli.attention.task import AttentionTask
from qr_cli.engine.run import dump_yaml

ONE_OF_EACH = {  # flag -> what is typed, dotted key, value
    "--arch": ("resnet56", "model.arch", "qr:resnet56"),
    "--module": ("lsas(eca,order=2)", "model.module", "lsas(eca,order=2)"),
    "--blocks": ("110", "model.blocks", "110"),
    "--replace": (None, "model.replace", True),
    "--num-classes": ("12", "model.num_classes", 12),
    "--val": ("0.1", "data.val", "0.1"),
    "--memory-limit": ("1.5", "data.memory_limit", 1.5),
    "--aux-weight": ("0.2", "loss.aux_weight", 0.2),
    "--optimizer": ("adamw", "optim.optimizer", "adamw"),
    "--lr": ("1e-3", "optim.lr", 0.001),
    "--no-nesterov": (None, "optim.nesterov", False),
    "--attn-lr-scale": ("auto", "optim.attn_lr_scale", "auto"),
    "--milestones": ("3,5", "schedule.milestones", (3, 5)),
    "--schedule": ("multistep", "schedule.schedule", "multistep"),
    "--drop-last": (None, "loader.drop_last", True),
    "--seed": ("7", "run.seed", 7),
    "--no-channels-last": (None, "run.channels_last", False),
    "--name": ("mine", "run.name", "mine"),
}


def value(recipe, path):
    section, key = path.split(".")
    return getattr(getattr(recipe, section), key)


def test_without_flags_the_defaults_arrive(qr, received):
    assert qr("train", "attention").code == 0
    (call,) = received
    assert call["recipe"] == Attention.model_validate({})
    assert (call["task"], call["resume"], call["overwrite"]) == (AttentionTask, False, False)


def test_every_kind_of_flag_arrives_and_nothing_else_changes(qr, received):
    words = [w for flag, (text, _, _) in ONE_OF_EACH.items() for w in (flag, text) if w]
    assert qr("train", "attention", *words).code == 0
    recipe = received[0]["recipe"]
    expected = Attention.model_validate({}).model_dump()
    for _, path, wanted in ONE_OF_EACH.values():
        section, key = path.split(".")
        expected[section][key] = wanted
    assert recipe.model_dump() == expected


def test_a_file_beats_defaults_and_a_flag_beats_the_file(qr, received, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("optim: {lr: 0.2, nesterov: false}\nloader: {batch_size: 32}\n", "utf-8")
    qr("train", "attention", "--recipe", str(file), "--lr", "0.3")
    recipe = received[0]["recipe"]
    assert (recipe.optim.lr, recipe.optim.nesterov) == (0.3, False)
    assert (recipe.loader.batch_size, recipe.schedule.epochs) == (32, 10)


@pytest.mark.parametrize(("flag", "wanted"), [("--nesterov", True), ("--no-nesterov", False)])
def test_either_direction_of_a_switch_undoes_the_file(qr, received, tmp_path, flag, wanted):
    file = tmp_path / "mine.yaml"
    file.write_text(f"optim: {{nesterov: {not wanted}}}\n", "utf-8")
    qr("train", "attention", "--recipe", str(file), flag)
    assert received[0]["recipe"].optim.nesterov is wanted


def test_a_saved_recipe_and_its_run_folder_mean_the_same(qr, received, tmp_path):
    qr("train", "attention", "--lr", "0.2", "--module", "spem", "--seed", "3")
    first = received[0]["recipe"]
    (tmp_path / "recipe.yaml").write_text(dump_yaml(first), "utf-8")
    for source in (tmp_path, tmp_path / "recipe.yaml"):
        qr("train", "attention", "--recipe", str(source))
        assert received[-1]["recipe"] == first


def test_a_shipped_recipe_is_found_by_its_name(qr, received, tmp_path, monkeypatch):
    file = tmp_path / "quick.yaml"
    file.write_text("schedule: {epochs: 2}\n", "utf-8")
    monkeypatch.setattr("qr_cli.engine.resolve.shipped", lambda task: {"quick": file})
    assert qr("train", "attention", "--recipe", "quick").code == 0
    assert received[0]["recipe"].schedule.epochs == 2


def test_seeds_make_one_run_each(qr, received):
    answer = qr("train", "attention", "--seeds", "0,2,5", "--name", "three", "--quiet")
    assert [(c["recipe"].run.seed, c["recipe"].run_name) for c in received] == [
        (seed, f"three-s{seed}") for seed in (0, 2, 5)
    ]
    assert all(call["recipe"].run.seeds == () for call in received)
    assert answer.out.splitlines() == [f"runs/attention/three-s{seed}" for seed in (0, 2, 5)]


@pytest.mark.parametrize("words", ["--seeds 0,2,5", "--seeds 0 --seeds 2,5"])
def test_a_list_is_given_with_commas_or_piece_by_piece(qr, received, words):
    assert qr("train", "attention", *words.split()).code == 0
    assert [call["recipe"].run.seed for call in received] == [0, 2, 5]


def test_resume_and_overwrite_arrive(qr, received):
    qr("train", "attention", "--resume")
    qr("train", "attention", "--overwrite")
    assert [(c["resume"], c["overwrite"]) for c in received] == [(True, False), (False, True)]


def test_several_processes_start_the_same_command_again(qr, monkeypatch):
    class Replaced(Exception):
        pass

    def relaunch(words, *, processes):
        raise Replaced(words, processes)

    monkeypatch.setattr("qr_cli.cli.training.relaunch", relaunch)
    answer = qr("train", "attention", "--num-processes", "3")
    assert "Replaced: ([" in answer.err and "], 3)" in answer.err


def test_a_child_of_a_launcher_does_not_launch_again(qr, received, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    assert qr("train", "attention", "--num-processes", "3").code == 0
    assert received[0]["recipe"].run.num_processes == 3


def test_a_dry_run_shows_the_recipe_and_what_it_comes_to_and_writes_nothing(qr, tmp_path):
    before = set(tmp_path.rglob("*"))
    answer = qr("train", "attention", "--module", "lsas", "--dry-run", "--batch-size", "100")
    (plan,) = answer.records
    assert plan["event"] == "plan"
    assert (plan["parameters"], plan["attention_parameters"]) == (274_598, 274_598 - 272_474)
    assert (plan["steps_per_epoch"], plan["steps"]) == (100, 1000)
    assert plan["run"] == "runs/attention/lsas-se-s0"
    assert Attention.model_validate(plan["recipe"]).loader.batch_size == 100
    assert set(tmp_path.rglob("*")) == before


def test_the_plan_of_a_dry_run_is_a_recipe_file(qr, received, tmp_path):
    plan = qr("train", "attention", "--lr", "0.2", "--dry-run", "--json").records[0]["recipe"]
    (tmp_path / "plan.yaml").write_text(json.dumps(plan), "utf-8")  # JSON is YAML
    assert yaml.safe_load((tmp_path / "plan.yaml").read_text("utf-8")) == plan
    qr("train", "attention", "--recipe", "plan.yaml")
    assert received[0]["recipe"].optim.lr == 0.2
