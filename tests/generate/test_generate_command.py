"""`qr generate`: the same seed gives the same bytes, however it is batched, shared or resumed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from qr_cli.cli.app import run
from qr_cli.cli.output import out

ROOT = Path(__file__).parents[2]
SPIDER = "a number for the legs of a spider in the same colour as milk"
FEW = ("--steps", "2")
BARE = ("--adapter", "none", *FEW)


@pytest.fixture
def qr(capsys):
    """Call a command line in this process: exit code, records, talk."""

    def call(*words):
        capsys.readouterr()
        code = run([str(word) for word in words])
        said = capsys.readouterr()
        return code, [json.loads(line) for line in said.out.splitlines()], said.err

    yield call
    out.configure()


@pytest.fixture(scope="session")
def adapter(tmp_path_factory):
    """Return an untrained adapter for the tiny base: it changes pictures, to nothing good."""
    from qr_cli.generate.adapter import SURAdapter
    from qr_cli.generate.folder import save_adapter

    torch.manual_seed(0)
    made = SURAdapter(64, ffn_dim=32, eta=1.0, max_tokens=32, dropout=0.0)
    torch.nn.init.normal_(made.fc.weight, 0, 0.1)
    folder = tmp_path_factory.mktemp("adapter") / "sur"
    save_adapter(made, folder, card="a test's")
    return folder


def pixels(path):
    return np.asarray(Image.open(path)).astype(int)


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(qr, tmp_path):
    for folder, seed in (("a", 5), ("b", 5), ("c", 6)):
        code, (record,), _ = qr("generate", SPIDER, "--seed", seed, "--out", folder, *BARE)
        assert code == 0 and record["image"] == f"{folder}/00000-{seed}.png"
    first = Path("a/00000-5.png").read_bytes()
    assert first == Path("b/00000-5.png").read_bytes()
    assert first != Path("c/00000-6.png").read_bytes()


def test_compare_draws_from_the_same_noise_and_eta_0_is_the_bare_base(qr, adapter):
    words = ("generate", SPIDER, *FEW, "--adapter", adapter)
    code, records, _ = qr(*words, "--compare", "--grid", "--out", "two")
    assert code == 0
    assert [r.get("variant") for r in records] == ["base", "adapter", None]
    assert Path(records[2]["image"]).is_file() and records[2]["event"] == "grid"
    assert {r["seed"] for r in records[:2]} == {0}
    assert (pixels("two/00000-0-base.png") != pixels("two/00000-0.png")).any()
    code, records, _ = qr(*words, "--sweep-eta", "0,0.5,1", "--out", "sweep")
    assert [r["eta"] for r in records] == [0, 0.5, 1]
    bare = Path("two/00000-0-base.png").read_bytes()
    assert Path("sweep/00000-0-eta0.png").read_bytes() == bare
    assert Path("sweep/00000-0-eta1.png").read_bytes() == Path("two/00000-0.png").read_bytes()
    code, _, _ = qr("generate", SPIDER, *FEW, "--adapter", "none", "--out", "none")
    assert Path("none/00000-0.png").read_bytes() == bare


def test_what_ships_draws_the_sentence_of_the_page_as_a_red_eight(qr):
    from qr_cli.generate.judges import CnnJudge, TintJudge

    sentence = "someone counted the legs of a spider and wrote the result in the colour of a "
    code, records, _ = qr("generate", sentence + "strawberry", "--compare")
    assert code == 0 and [record["eta"] for record in records] == [0, 1]
    seen = torch.stack([torch.tensor(pixels(r["image"])) for r in records]).permute(0, 3, 1, 2)
    said = list(
        zip(
            CnnJudge().read(seen / 255).tolist(), TintJudge().read(seen / 255).tolist(), strict=True
        )
    )
    assert said[1] == (8, 0) != said[0]


def test_a_picture_hardly_depends_on_what_it_is_drawn_beside(qr, tmp_path, adapter):
    file = tmp_path / "prompts.txt"
    file.write_text("red digit one\n\nblue digit two\n" + SPIDER + "\n", "utf-8")
    for size in (1, 4):
        words = ("--prompts", file, "--batch-size", size, "--out", size, "--adapter", adapter)
        code, records, _ = qr("generate", *words, *FEW)
        assert code == 0
        assert [r["prompt"] for r in records][1:] == ["blue digit two", SPIDER]
        assert [r["seed"] for r in records] == [0, 1, 2]
    for name in ("00000-0", "00001-1", "00002-2"):  # one level: 1e-4 may cross a rounding
        assert abs(pixels(f"1/{name}.png") - pixels(f"4/{name}.png")).max() <= 1


def test_latents_of_a_picture_do_not_depend_on_its_batch():
    from qr_cli.generate.base import load_base
    from qr_cli.generate.draw import draw, noise

    pipe = load_base("tiny")
    latents = noise(pipe, [3, 4, 5, 6], height=64, width=64)
    assert torch.equal(latents[1:2], noise(pipe, [4], height=64, width=64))
    prompts = [f"red digit {word}" for word in ("one", "two", "three", "four")]
    pipe.vae.decode = lambda z, **_: (z,)  # compare what the U-Net made, unrounded
    pipe.image_processor.postprocess = lambda image, **_: image.repeat(1, 1, 1, 1)
    together = pipe(prompt=prompts, latents=latents, num_inference_steps=3, output_type="pt")
    alone = pipe(prompt=prompts[1:2], latents=latents[1:2], num_inference_steps=3, output_type="pt")
    torch.testing.assert_close(together.images[1:2], alone.images, rtol=0, atol=1e-4)
    assert draw is not None


def test_json_lines_carry_what_each_prompt_wants_and_bad_ones_are_answers(qr, tmp_path):
    rows = [
        {"id": "a", "prompt": "red digit one", "seed": 7, "steps": 1, "guidance": 1.5},
        {"id": "b", "prompt": "  "},
        {"id": "c", "prompt": "red digit one", "sed": 7},
        {"prompt": "blue digit two", "steps": 0},
        {"prompt": "blue digit two"},
    ]
    file = lines(tmp_path / "p.jsonl", rows)
    file.write_bytes(file.read_bytes() + b'{"prompt": \n"\xff"\n')
    code, records, said = qr("generate", "--prompts", file, *BARE, "--batch-size", 3)
    assert code == 3 and "5 prompts could not be drawn" in said
    first, empty, typo, steps, good, broken, latin = records
    assert (first["id"], first["seed"], first["steps"], first["guidance"]) == ("a", 7, 1, 1.5)
    assert (good["id"], good["seed"], good["steps"], good["guidance"]) == ("4", 4, 2, 3.0)
    for record, words in (
        (empty, "line 2: prompt is empty"),
        (typo, "line 3: unknown key 'sed' (did you mean 'seed'?)"),
        (steps, "line 4: steps should be a whole number from 1 to 1000, got 0"),
        (broken, "line 6: not JSON"),
        (latin, "line 7: not UTF-8"),
    ):
        assert words in record["error"]["message"]
        assert record["error"]["exit_code"] == 3
    assert sorted(p.name for p in Path("generated").glob("*.png")) == ["00000-7.png", "00004-4.png"]


def test_a_sidecar_holds_what_makes_the_picture_again(qr, adapter):
    words = ("generate", SPIDER, "--negative", "red", *FEW, "--adapter", adapter)
    qr(*words, "--eta", 0.5, "--scheduler", "euler", "--seed", 3)
    facts = json.loads(Path("generated/00000-3.json").read_text("utf-8"))
    again = {key: facts[key] for key in ("prompt", "negative", "seed", "steps", "guidance")}
    file = lines(Path("again.jsonl"), [again])
    assert facts["scheduler"]["_class_name"] == "EulerDiscreteScheduler"
    code, _, _ = qr(
        *("generate", "--prompts", file, "--out", "again", "--scheduler", "euler"),
        *("--base", facts["base"]["name"], "--adapter", facts["adapter"]["name"]),
        *("--eta", facts["eta"], "--height", facts["height"], "--width", facts["width"]),
    )
    assert code == 0
    assert Path("again/00000-3.png").read_bytes() == Path("generated/00000-3.png").read_bytes()
    stored = json.loads(Path("again/00000-3.json").read_text("utf-8"))
    assert stored == facts


def test_pictures_are_replaced_or_kept_only_when_asked(qr):
    words = ("generate", SPIDER, "--num-images", 2, "--adapter", "none")
    assert qr(*words, *FEW)[0] == 0
    code, records, said = qr(*words, *FEW)
    assert (code, records) == (2, []) and "is there already" in said and "--resume" in said
    Path("generated/00000-1.png").unlink()
    second = Path("generated/00000-0.png")
    before = second.stat().st_mtime_ns
    code, records, _ = qr(*words, *FEW, "--resume")
    assert [record.get("kept", False) for record in records] == [True, False]
    assert second.stat().st_mtime_ns == before
    code, records, _ = qr(*words, "--steps", 1, "--resume")  # made in another way: made anew
    assert [record.get("kept", False) for record in records] == [False, False]
    assert qr(*words, *FEW, "--overwrite")[0] == 0


def test_a_long_prompt_is_drawn_and_told_once(qr):
    code, (first, second), said = qr(
        "generate", "spider " * 40, "--num-images", 2, *FEW, "--adapter", "none"
    )
    assert code == 0
    assert first["truncated"] and first["prompt_tokens"] == 42
    assert said.count("cut after 32 tokens") == 1 and "2 pictures" in said


def test_clip_skip_takes_an_earlier_layer(qr, adapter):
    words = ("generate", SPIDER, *FEW, "--adapter", adapter)
    assert qr(*words, "--out", "all")[0] == qr(*words, "--clip-skip", 1, "--out", "less")[0] == 0
    assert (pixels("all/00000-0.png") != pixels("less/00000-0.png")).any()
    code, (record,), said = qr(*words, "--clip-skip", 5, "--out", "none")
    assert code == 2 and "--clip-skip: 5 of 2 layers" in said


def test_a_plan_reads_no_weights_and_writes_nothing(qr, tmp_path):
    code, (record,), _ = qr("generate", SPIDER, "--compare", "--num-images", 3, "--dry-run")
    assert code == 0
    assert (record["pictures"], record["steps"], record["guidance"]) == (6, 12, 3.0)
    assert list(tmp_path.iterdir()) == []


def test_quiet_leaves_the_paths(qr, capsys):
    assert run(["generate", SPIDER, "--adapter", "none", "--quiet", *FEW]) == 0
    assert capsys.readouterr().out == "generated/00000-0.png\n"
    out.configure()


def test_a_base_of_the_real_layout_is_drawn_with(qr, sd15):
    code, (record,), _ = qr("generate", "a cat", "--base", sd15, "--steps", 2, "--guidance", 5)
    assert code == 0 and record["variant"] == "base"
    assert pixels(record["image"]).shape == (64, 64, 3)


# processes -----------------------------------------------------------------------------------


def program(*words, stdin=None):
    """Run a command line as a process of its own, with one thread in every rank."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "qr_cli", *map(str, words)],
        env=environment, input=stdin, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.mark.slow
def test_two_processes_draw_the_bytes_of_one_in_the_order_of_the_lines(qr, adapter, tmp_path):
    texts = ["red digit one", "", "blue digit two", SPIDER, "green digit six"]
    stdin = "".join(json.dumps({"prompt": text}) + "\n" for text in texts)
    file = tmp_path / "p.jsonl"
    file.write_text(stdin, "utf-8")
    words = ("--adapter", adapter, "--batch-size", 2, "--json", *FEW)
    code, one, _ = qr("generate", "--prompts", file, "--out", "one", *words)
    two = program("generate", "-", "--out", "two", "--num-processes", 2, *words, stdin=stdin)
    assert (code, two.returncode) == (3, 3), two.stderr
    found = [json.loads(line) for line in two.stdout.splitlines()]
    assert [r["id"] for r in found] == [r["id"] for r in one] == list("01234")
    made = sorted(path.name for path in Path("one").glob("*.png"))
    assert len(made) == 4
    for name in made:
        assert Path("one", name).read_bytes() == Path("two", name).read_bytes()
