"""From defaults, a file and flags to one recipe: precedence, and all faults at once."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from pydantic import Field

from qr_cli.engine.recipe import Loader, Optim, Recipe, Run, Schedule, Section, TrainRecipe
from qr_cli.engine.resolve import by_name, leaves, origins, read_recipe, resolve
from qr_cli.engine.run import dump_yaml
from qr_cli.errors import DataError, RecipeError, UsageError


class Parts(Section):
    """Kinds of values."""

    words: Annotated[tuple[str, ...], Field(description="Words.")] = ()
    weight: Annotated[
        Literal["auto"] | Annotated[float, Field(ge=0)], Field(description="A union.")
    ] = "auto"
    kind: Annotated[
        Literal["a", "b"],
        Field(description="Short flag.", json_schema_extra={"flag": "--what-kind"}),
    ] = "a"
    maybe: Annotated[int | None, Field(ge=1, description="Or none.")] = None


class Whole(TrainRecipe):
    """A recipe with every kind of value."""

    task: Literal["whole"] = "whole"
    parts: Parts = Parts()
    optim: Optim = Optim()
    schedule: Schedule = Schedule()
    loader: Loader = Loader()
    run: Run = Run()


def faults(file=None, **given):
    with pytest.raises(RecipeError) as caught:
        resolve(Whole, file=file, given={k.replace("__", "."): v for k, v in given.items()})
    assert caught.value.exit_code == 2
    return caught.value.faults


def test_flags_win_over_the_file_and_the_file_over_defaults():
    file = {"optim": {"lr": 0.5, "momentum": 0.5}}
    made = resolve(Whole, file=file, given={"optim.lr": 0.7})
    assert (made.optim.lr, made.optim.momentum, made.optim.weight_decay) == (0.7, 0.5, 5e-4)
    assert file == {"optim": {"lr": 0.5, "momentum": 0.5}}


def test_every_fault_is_told_at_once_by_its_flag():
    found = faults(
        {"optim": {"lr": -1}, "loader": {"batch_size": 0}}, schedule__epochs="many", run__keep=0
    )
    assert found == [
        "--lr: should be greater than 0, got -1",
        "--epochs: should be a whole number, got many",
        "--batch-size: should be greater than or equal to 1, got 0",
        "--keep: should be greater than or equal to 1, got 0",
    ]


def test_the_hint_is_a_flag_that_would_do():
    with pytest.raises(RecipeError) as caught:
        resolve(Whole, given={"optim.lr": "-1"}, command="qr train whole")
    assert caught.value.hint == "qr train whole --lr 0.05"


def test_unknown_keys_are_faults_with_the_nearest_name():
    assert faults({"optim": {"lrr": 1}}) == ["unknown key 'optim.lrr' (did you mean 'optim.lr'?)"]
    (fault,) = faults({"shedule": {"epochs": 1}})
    assert fault.startswith("unknown key 'shedule'")
    assert faults({"xyzzy": None}) == ["unknown key 'xyzzy'"]


def test_a_misspelt_choice_is_told_with_the_nearest_one():
    (fault,) = faults(optim__optimizer="adamv")
    assert fault.startswith("--optimizer: should be 'sgd', 'adam' or 'adamw', got adamv")
    assert fault.endswith("(did you mean 'adam'?)") or fault.endswith("(did you mean 'adamw'?)")


def test_a_flag_of_its_own_is_used_in_faults():
    (fault,) = faults(parts__kind="c")
    assert fault.startswith("--what-kind: ")


def test_rules_across_fields_name_the_flag():
    assert faults(schedule__schedule="multistep", schedule__milestones="2,1") == [
        "--milestones: must increase, got 2,1"
    ]
    assert faults({"schedule": {"schedule": "multistep", "epochs": 5, "milestones": [2, 5]}}) == [
        "--milestones: 5 is not below --epochs 5"
    ]
    (fault,) = faults(schedule__warmup_epochs="1")
    assert fault.startswith("--warmup-epochs: onecycle has its own warm-up")
    assert faults(run__seeds="1,1") == ["--seeds: must differ, got 1,1"]
    assert faults(run__seeds="1,2", run__seed=3) == ["--seeds: cannot go with --seed"]


def test_commas_separate_except_inside_brackets():
    made = resolve(Whole, given={"parts.words": "se, lsas(eca,order=2),none"})
    assert made.parts.words == ("se", "lsas(eca,order=2)", "none")
    assert resolve(Whole, given={"parts.words": ""}).parts.words == ()
    assert resolve(Whole, given={"run.seeds": "3"}).run.seeds == (3,)


def test_a_member_of_a_list_that_is_wrong_is_told():
    (fault,) = faults(run__seeds="1,x")
    assert fault.startswith("--seeds: ")
    assert "x" in fault


def test_yaml_reads_1e_4_as_text_and_the_recipe_as_a_number():
    file = yaml.safe_load("optim: {lr: 1e-4}\nparts: {weight: 1e-3}")
    assert file["optim"]["lr"] == "1e-4"
    made = resolve(Whole, file=file)
    assert (made.optim.lr, made.parts.weight) == (1e-4, 1e-3)


@pytest.mark.parametrize(("text", "value"), [("auto", "auto"), ("0.5", 0.5), (2, 2.0)])
def test_a_value_of_two_types_takes_either(text, value):
    assert resolve(Whole, given={"parts.weight": text}).parts.weight == value


@pytest.mark.parametrize("text", ["-1", "some"])
def test_a_value_of_neither_type_is_one_fault_with_both_reasons(text):
    (fault,) = faults(parts__weight=text)
    assert fault.startswith("--weight: should be 'auto' or ")
    assert text in fault


def test_an_empty_section_is_one_with_defaults():
    file = yaml.safe_load("optim:\nrun:\n  seed: 3\n")
    made = resolve(Whole, file=file, given={"optim.lr": 1})
    assert (made.optim.lr, made.run.seed) == (1.0, 3)


def test_a_section_that_is_none_is_told_also_where_a_flag_is_given():
    for given in ({}, {"optim.lr": 1}):
        with pytest.raises(RecipeError) as caught:
            resolve(Whole, file={"optim": 3}, given=given)
        (fault,) = caught.value.faults
        assert fault.startswith("optim: ")


def test_a_recipe_of_another_task_is_refused():
    (fault,) = faults({"task": "other"})
    assert fault == "task: should be 'whole'"


def test_a_null_resets_what_may_be_none():
    assert resolve(Whole, file={"parts": {"maybe": None}}).parts.maybe is None


def test_recipe_yaml_read_back_is_the_same_recipe():
    made = resolve(
        Whole,
        given={"parts.words": "se,lsas(eca,order=2)", "optim.lr": 3e-7, "run.seeds": "1,2",
               "schedule.warmup_epochs": 0.1, "schedule.schedule": "cosine", "parts.maybe": 4},
    )  # fmt: skip
    Path("recipe.yaml").write_text(dump_yaml(made))
    again = resolve(Whole, file=read_recipe("whole", "recipe.yaml"))
    assert again == made
    assert dump_yaml(again) == dump_yaml(made)


def test_a_run_folder_is_a_recipe():
    Path("run").mkdir()
    Path("run/recipe.yaml").write_text(dump_yaml(Whole()))
    assert resolve(Whole, file=read_recipe("whole", "run")) == Whole()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a: [", "cannot be read"),
        ("- 1", "holds no keys"),
        ("", "holds no keys"),
        (b"\xff", "read"),
    ],
)
def test_a_recipe_that_is_no_yaml_with_keys_is_a_fault_of_the_data(content, words):
    Path("r.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=words):
        read_recipe("whole", "r.yaml")


def test_a_recipe_that_is_not_there_is_a_fault_of_use_with_a_near_name():
    with pytest.raises(UsageError, match="no file and no shipped recipe 'nothing'"):
        read_recipe("whole", "nothing")


def test_keywords_of_python_are_flags_with_underscores():
    assert by_name(Whole, {"lr": 1, "what_kind": "b"}) == {"optim.lr": 1, "parts.kind": "b"}
    with pytest.raises(RecipeError) as caught:
        by_name(Whole, {"epoch": 1, "lrr": 1})
    assert caught.value.faults == [
        "unknown setting 'epoch' (did you mean 'epochs'?)",
        "unknown setting 'lrr' (did you mean 'lr'?)",
    ]


def test_it_is_known_where_a_value_comes_from():
    file = {"optim": {"lr": 1, "momentum": 0}, "task": "whole"}
    found = origins(file, {"optim.lr": 2})
    assert found == {"optim.lr": "flag", "optim.momentum": "recipe"}


def test_two_settings_never_share_a_flag():
    class Twice(Section):
        """Another section."""

        lr: float = 1.0

    class Clash(Recipe):
        """Two rates."""

        optim: Optim = Optim()
        twice: Twice = Twice()

    with pytest.raises(TypeError, match="Clash: two settings share --lr"):
        leaves(Clash)


def test_a_recipe_is_frozen_and_a_changed_copy_is_another():
    made = Whole()
    with pytest.raises(ValueError, match="frozen"):
        made.optim.lr = 2
    assert made.changed("optim", lr=2).optim.lr == 2
    assert made.optim.lr == 0.05
