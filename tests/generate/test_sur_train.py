"""Training an adapter: presets, phases, gradients, resuming, and what it leaves behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from bases import make_adapter

import qr_cli
from qr_cli.api import by_name
from qr_cli.cli.app import run as cli
from qr_cli.engine.resolve import resolve
from qr_cli.engine.train import train
from qr_cli.errors import DataError, RecipeError, RunFailed, UsageError
from qr_cli.generate.adapter import SURAdapter
from qr_cli.generate.corpus import EMPTY, IDENTITY, NARRATIVE, Corpus
from qr_cli.generate.folder import find_adapter
from qr_cli.generate.recipe import SurTrain
from qr_cli.generate.surd import Row, dump
from qr_cli.generate.task import SurTask

SMALL = {"ffn": 32, "resolution": 64, "validate_every": 5, "warmup_steps": 2, "batch_size": 8}
FIXED = {"eta": 1.0, "steps": 8, "diffusion_steps": 7, "dropout": 0.1, **SMALL}


def recipe(**settings):
    return resolve(SurTrain, given=by_name(SurTrain, settings))


@pytest.fixture
def common(small_surd, cache, tmp_path):
    return {"data": str(small_surd), "cache": str(cache), "out": str(tmp_path / "runs")}


def records(folder, phase=None):
    path = folder / "phases" / phase if phase else folder
    lines = (path / "metrics.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_prompts_are_drawn_at_each_validation(common, tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_text('{"prompt": "the number of legs of a spider", "steps": 2}\n')
    given = {**FIXED, **common, "name": "run", "validation_prompts": str(file)}
    run = qr_cli.run("train", "sur-adapter", **given)
    made = sorted(path.name for path in (run.folder / "validation").iterdir())
    assert made == [
        "align-000005.png", "align-000008.png", "diffusion-000005.png", "diffusion-000007.png",
    ]  # fmt: skip
    plain = qr_cli.run("train", "sur-adapter", **{**FIXED, **common, "name": "plain"})
    same = [find_adapter(str(r.folder)).state_dict() for r in (run, plain)]
    assert all(torch.equal(same[0][k], same[1][k]) for k in same[0])  # looking changes nothing
    file.write_text('{"prompt": 3}\n')
    with pytest.raises(DataError):
        qr_cli.run("train", "sur-adapter", **{**given, "name": "bad"})
    with pytest.raises(DataError, match="--validation-prompts: none.txt: no such file"):
        qr_cli.run(
            "train", "sur-adapter", **{**given, "name": "bad", "validation_prompts": "none.txt"}
        )


# recipe ------------------------------------------------------------------------------------


def test_the_official_preset_resolves_to_what_the_authors_do():
    found = recipe(compat="official", teacher="39.pt")
    model, loss, diffusion = found.model, found.loss, found.diffusion
    assert (model.attention_axis, model.dropout, model.eta) == ("batch", 0.1, 0.1)
    assert (loss.prompt_loss, loss.prompt_weight, loss.prompt_loss_on) == ("kl", 1e-5, "out")
    assert (loss.identity_share, loss.empty_share, loss.temperature) == (0, 0, 1)
    assert (found.teacher.llm_loss, found.llm_weight) == ("kl", 1e-5)
    assert (diffusion.joint, diffusion.diffusion_gradient) == (True, "off")
    assert (diffusion.diffusion_weight, diffusion.diffusion_align_weight) == (1, 1)
    assert (found.optim.optimizer, found.optim.lr, found.optim.clip_norm) == ("adamw", 1e-5, 1)
    assert found.optim.weight_decay == 0.01
    assert (found.schedule.steps, found.schedule.schedule) == (5000, "constant")
    assert (found.loader.batch_size, found.loader.accumulate) == (1, 4)


def test_a_flag_beside_the_preset_wins_and_the_saved_recipe_holds_what_came_out():
    found = recipe(compat="official", attention_axis="none", steps=7)
    assert (found.model.attention_axis, found.schedule.steps) == ("none", 7)
    assert resolve(SurTrain, file=found.model_dump(mode="json")) == found
    changed = found.model_dump(mode="json")
    changed["optim"]["lr"] = 1.0
    assert resolve(SurTrain, file=changed).optim.lr == 1.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 1}, "--batch-size: nce needs at least 2 samples per process, got 1"),
        ({"llm_weight": 0.5}, "--llm-weight: 0.5, but there is no teacher to distil"),
        (
            {"batch_size": 1, "prompt_loss": "kl", "teacher": "minilm"},
            "--batch-size: --llm-loss nce needs at least 2",
        ),
        ({"eta": 2.5}, "--eta: should be less than or equal to 2, got 2.5"),
        ({"identity_share": 0.7, "empty_share": 0.5}, "are more than 1 together"),
        ({"steps": 0}, "nothing to train"),
        ({"joint": True, "diffusion_steps": 5}, "--diffusion-steps: with --joint"),
        ({"teacher_layer": "x"}, "--teacher-layer"),
    ],
)
def test_what_cannot_be_meant_is_told_in_flags(settings, message):
    with pytest.raises(RecipeError, match=message):
        recipe(**settings)


def test_heads_must_divide_the_width_and_a_phase_with_pictures_needs_some(tmp_path, common):
    with pytest.raises(UsageError, match="--heads: 7 do not divide 64"):
        SurTask(recipe(heads=7, **common))
    rows = [{"file_name": "a.png", "text": "one", "prompt": "two"}]
    (tmp_path / "m.jsonl").write_text(dump(rows))
    with pytest.raises(UsageError, match="the diffusion phase needs pictures"):
        SurTask(recipe(**common | {"data": "m.jsonl"}, diffusion_steps=5))
    (tmp_path / "metadata.jsonl").write_text(dump([*rows, rows[0] | {"file_name": "b.png"}]))
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match="1 row cannot be used: line 2: no picture b.png"):
        SurTask(recipe(**common | {"data": str(tmp_path)}, diffusion_steps=5))


def test_a_dry_run_counts_and_writes_nothing(common, tmp_path, capsys):
    words = ["--data", common["data"], "--out", "runs", "--ffn", "256", "--json"]
    assert cli(["train", "sur-adapter", "--dry-run", *words]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["rows"], plan["val_rows"], plan["parameters"]) == (114, 6, 120_768)
    assert (plan["steps"], plan["diffusion_steps"], plan["loads_unet"]) == (2500, 0, False)
    assert not (tmp_path / "runs").exists()


# rows as numbers ---------------------------------------------------------------------------


class Table:
    """Embeddings that are their own number."""

    def __init__(self, count):
        self.ids = {"": 0} | {f"{kind}{i}": 1 + 2 * i + k for i in range(count)
                              for k, kind in enumerate(("t", "p"))}  # fmt: skip
        self.rows = self
        self.ends = torch.arange(1 + 2 * count)

    def __getitem__(self, ids):
        return ids.float()[:, None, None].expand(-1, 3, 2)


def corpus(count=10, **settings):
    rows = [Row((f"t{i}",), (f"p{i}",), None, {}) for i in range(count)]
    return Corpus(rows, Table(count), span=400, **settings)


def test_kinds_of_rows_come_with_their_shares_and_say_what_goes_in_and_out():
    batch = corpus(identity_share=0.25, empty_share=0.05).fetch(torch.arange(400), 0)
    kind, x, target = batch["kind"], batch["x"][:, 0, 0], batch["target"][:, 0, 0]
    assert (kind == IDENTITY).float().mean() == pytest.approx(0.25, abs=0.06)
    assert (kind == EMPTY).float().mean() == pytest.approx(0.05, abs=0.03)
    assert (x[kind == EMPTY] == 0).all() and (target[kind == EMPTY] == 0).all()
    assert torch.equal(x[kind == IDENTITY], target[kind == IDENTITY])
    assert torch.equal(x[kind == NARRATIVE] + 1, target[kind == NARRATIVE])


def test_every_row_is_seen_once_per_pass_and_draws_depend_on_the_place_alone():
    rows = corpus(identity_share=0.5)
    whole = rows.fetch(torch.arange(400), 1)
    part = rows.fetch(torch.arange(100, 200), 1)
    assert torch.equal(whole["x"][100:200], part["x"])
    counts = torch.bincount(whole["prompt_id"])
    assert set(counts[counts > 0].tolist()) == {40}
    other = corpus(identity_share=0.5, seed=1).fetch(torch.arange(400), 1)
    assert not torch.equal(other["prompt_id"], whole["prompt_id"])


def test_several_texts_of_a_row_are_drawn_alike_often():
    rows = [Row(("t0", "t1"), ("p0",), None, {})]
    batch = Corpus(rows, Table(2), span=400).fetch(torch.arange(400), 0)
    assert (batch["text_id"] == 1).float().mean() == pytest.approx(0.5, abs=0.1)


def test_mean_and_variance_of_keyword_embeddings():
    mu, var = corpus(4).statistics()
    ids = torch.tensor([2.0, 4.0, 6.0, 8.0])
    assert torch.equal(mu, torch.full((3, 2), 5.0)) and var == ids.var(correction=0)


# training ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(small_surd, cache, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    return qr_cli.run(
        "train", "sur-adapter", data=str(small_surd), cache=str(cache), out=str(out), **FIXED
    ).folder


def test_a_run_leaves_an_adapter_that_is_found_by_any_of_its_names(finished):
    folder = finished / "adapter"
    config = json.loads((folder / "config.json").read_text())
    assert config["base_name"] == "tiny-sd" and len(config["base_text_fingerprint"]) == 64
    assert len(config["base_unet_fingerprint"]) == 64 and config["eta"] == 1.0
    card = (folder / "README.md").read_text("utf-8")
    assert "8 updates, then 7 with the diffusion loss" in card and "| val_retrieval |" in card
    x = torch.randn(2, 32, 64)
    places = (finished, folder, finished / "checkpoints" / "epoch-0002")
    outs = [find_adapter(place)(x).out for place in places]
    assert torch.equal(outs[0], outs[1]) and torch.equal(outs[0], outs[2])
    assert torch.equal(qr_cli.load(finished)(x).out, outs[0])
    assert isinstance(SURAdapter.from_pretrained(folder), SURAdapter)


def test_its_records_name_the_phase_and_every_loss(finished):
    align = [r for r in records(finished, "align") if r["event"] == "epoch"]
    assert [r["step"] for r in align] == [5, 8] and {r["phase"] for r in align} == {"align"}
    assert {"mse", "nce", "val_retrieval", "val_label_retrieval"} <= align[0].keys()
    assert "diffusion" not in align[0]
    main = [r for r in records(finished) if r["event"] == "epoch"]
    assert [r["step"] for r in main] == [5, 7] and "diffusion" in main[0]
    assert records(finished)[-1]["event"] == "result"


def test_its_report_shows_what_happened(finished):
    names = {path.stem for path in (finished / "plots").glob("*.png")}
    assert names >= {"losses", "retrieval", "embeddings"}
    assert "no language model" in (finished / "report.html").read_text("utf-8")


class Stop:
    """Ends a run the hard way at an update of a phase."""

    def __init__(self, phase, step):
        self.phase, self.step, self.seen = phase, step, 0

    def record(self, record):
        if record["event"] == "epoch" and record.get("phase") == "align" and record["step"] == 8:
            self.seen = 1

    def tick(self, *, epoch, epochs, step, steps):
        if self.seen == self.phase and (epoch - 1) * steps + step == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize(("phase", "step"), [(0, 7), (1, 4)])
def test_a_resumed_run_equals_the_straight_one_bit_for_bit(finished, common, phase, step):
    settings = recipe(**common, **FIXED, save_steps=3)
    with pytest.raises(KeyboardInterrupt):
        train(settings, SurTask, Stop(phase, step), command="test")
    done = train(settings, SurTask, Stop(9, 0), command="test", resume=True)
    found, wanted = (find_adapter(f).state_dict() for f in (done.folder, finished))
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


def gradients(task, batch):
    """Return the gradients of one step, by name."""
    task.student.zero_grad()
    torch.manual_seed(0)
    (update,) = task.step({"main": task.student}, batch)
    update.loss.backward()
    return {
        name: p.grad.clone() for name, p in task.student.adapter.named_parameters() if
        p.grad is not None
    }  # fmt: skip


@pytest.mark.parametrize(("gradient", "contributes"), [("off", False), ("on", True)])
def test_as_released_the_diffusion_loss_contributes_exactly_nothing(common, gradient, contributes):
    settings = {"compat": "official", "dropout": 0.0, "batch_size": 4, "ffn": 32}
    settings |= {"diffusion_gradient": gradient, "resolution": 64}
    grads = []
    for weight in (1.0, 0.0):
        task = SurTask(recipe(**common, **settings, diffusion_weight=weight))
        torch.nn.init.normal_(task.student.adapter.fc.weight, generator=torch.Generator())
        list(task.phases(None))
        assert (task.denoiser is not None) == (weight > 0)
        batch = task.parts(rank=0, world=1).train.fetch(torch.arange(4), 0)
        grads.append(gradients(task, batch))
    same = all(torch.equal(a, b) for a, b in zip(*(g.values() for g in grads), strict=True))
    assert same is not contributes


def test_a_teacher_is_distilled_and_the_projection_learned_or_frozen(common, tmp_path):
    texts = [json.loads(line)["text"] for line in
             (open(f"{common['data']}/train/metadata.jsonl", encoding="utf-8"))]  # fmt: skip
    vectors = dict(
        zip(texts, torch.randn(len(texts), 12, generator=torch.Generator()), strict=True)
    )
    torch.save(vectors, tmp_path / "v.pt")
    base = None
    for loss in ("nce", "kl"):
        task = SurTask(recipe(**common, **SMALL, teacher="v.pt", llm_loss=loss))
        projection = task.student.projection
        assert projection.weight.requires_grad is (loss == "nce")
        batch = task.parts(rank=0, world=1).train.fetch(torch.arange(8), 0)
        (update,) = task.step({"main": task.student}, batch)
        update.loss.backward()
        assert update.metrics["llm"] > 0
        assert (projection.weight.grad is not None) is (loss == "nce")
        base = base or task.student.adapter.state_dict()
        assert all(torch.equal(v, base[k]) for k, v in task.student.adapter.state_dict().items())
    without = SurTask(recipe(**common, **SMALL)).student.adapter.state_dict()
    assert all(torch.equal(v, without[k]) for k, v in base.items())  # the same start in every arm


def test_the_smoke_run_gives_the_recorded_figures(common, request):
    golden = Path(__file__).parents[1] / "golden" / "sur-smoke.json"
    settings = {"eta": 1.0, "ffn": 256, "dropout": 0.0, "resolution": 64, "validate_every": 60}
    folder = qr_cli.run(
        "train", "sur-adapter", steps=60, diffusion_steps=5, warmup_steps=20, **settings, **common
    ).folder
    align, main = (
        next(r for r in records(folder, phase) if r["event"] == "epoch")
        for phase in ("align", None)
    )
    found = {f"align {k}": align[k] for k in ("mse", "nce", "val_cosine", "val_norm_ratio")}
    found |= {k: main[k] for k in ("mse", "diffusion", "val_keyword_drift")}
    if request.config.getoption("--update-golden"):
        golden.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
        return
    assert found == pytest.approx(json.loads(golden.read_text("utf-8")), rel=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("compat", ["fixed", "official"])
def test_a_base_of_sd_1_layout_is_trained_for_and_drawn_with(
    compat, sd15, common, tmp_path, capsys
):
    settings = {"base": str(sd15), "resolution": 64, "ffn": 16, "validate_every": 2}
    settings |= {"fixed": {"steps": 2, "diffusion_steps": 2, "batch_size": 4},
                 "official": {"compat": "official", "steps": 2}}[compat]  # fmt: skip
    folder = qr_cli.run("train", "sur-adapter", **settings, **common).folder
    config = find_adapter(folder).config
    assert (config.hidden_size, config.max_tokens, config.base_name) == (768, 77, "sd15")
    words = ["--base", str(sd15), "--adapter", str(folder), "--steps", "1"]
    assert cli(["generate", "a cat", *words, "--height", "64", "--width", "64", "--quiet"]) == 0
    assert capsys.readouterr().out.strip().endswith(".png")


def test_a_loss_that_is_not_finite_stops_the_run(common):
    with pytest.raises(RunFailed, match=r"not finite at step \d+ of the phase align"):
        qr_cli.run("train", "sur-adapter", **common, **FIXED | {"clip_norm": 0.0, "lr": 1e30,
                   "log_steps": 1, "warmup_steps": 0})  # fmt: skip


def test_an_official_file_is_converted(tmp_path, capsys):
    adapter = make_adapter(8, ffn_dim=16)
    torch.save(adapter.state_dict(), tmp_path / "a.pt")
    command = ["data", "convert", "sur-adapter", "a.pt", "--out", "sur", "--json"]
    assert cli(command) == 2
    assert cli([*command, "--eta", "0.2"]) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (record["width"], record["eta"], record["attention_axis"]) == (8, 0.2, "batch")
    assert find_adapter("sur").config.eta == 0.2
    assert cli([*command, "--eta", "0.2"]) == 2


@pytest.mark.slow
def test_two_ranks_run_and_one_writes(common, tmp_path):
    root = Path(qr_cli.__file__).parents[1]
    words = [f"--{k.replace('_', '-')}={v}" for k, v in (common | FIXED).items()]
    done = subprocess.run(
        [sys.executable, "-m", "qr_cli", "train", "sur-adapter", "--num-processes=2", *words],
        env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["event"] == "result"
    assert find_adapter(tmp_path / "runs" / "generate" / "sur-tiny-s0").config.eta == 1.0


@pytest.mark.slow
def test_an_adapter_learns_to_read_combinations_it_was_not_trained_on(cache, tmp_path):
    from qr_cli.generate.base import load_base
    from qr_cli.generate.diagnose import diagnose, embed
    from qr_cli.generate.suites import load_suite

    texts = embed(load_base("tiny"), load_suite("tiny/recombined"))
    before = diagnose(texts, None, 0)["base"]
    assert before["label_digit"] < 0.25 and before["label_tint"] < 0.25
    folder = qr_cli.run(
        "train", "sur-adapter", recipe="sur-tiny-ablation", steps=1000, cache=str(cache),
        out=str(tmp_path),
    ).folder  # fmt: skip
    after = diagnose(texts, find_adapter(folder), 1.0)["adapter"]
    assert after["label_digit"] > 0.30 and after["label_tint"] > 0.75
