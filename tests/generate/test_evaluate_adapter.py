"""`qr eval generate`: conditions share their noise, figures are those of the pictures."""

import json
from pathlib import Path

import pytest
import torch

from qr_cli.cli.app import run
from qr_cli.cli.output import out
from qr_cli.generate import world
from qr_cli.generate.eval_recipe import GenerateEval
from qr_cli.generate.suites import load_suite

QUICK = ("--steps", "3", "--resamples", "200")


@pytest.fixture
def qr(capsys):
    def call(*words):
        capsys.readouterr()
        code = run([str(word) for word in words])
        said = capsys.readouterr()
        return code, [json.loads(line) for line in said.out.splitlines()], said.err

    yield call
    out.configure()


@pytest.fixture(scope="module")
def adapters(tmp_path_factory):
    """Two adapters for the tiny base: one that does nothing, one that does harm."""
    from qr_cli.generate.adapter import SURAdapter
    from qr_cli.generate.folder import save_adapter

    folder = tmp_path_factory.mktemp("adapters")
    for name, spread in (("still", 0.0), ("wild", 0.3)):
        torch.manual_seed(0)
        made = SURAdapter(64, ffn_dim=32, eta=0.0 if name == "still" else 1.0, max_tokens=32)
        torch.nn.init.normal_(made.fc.weight, 0, spread)
        save_adapter(made, folder / name, card="a test's")
    return folder


@pytest.fixture
def suite(tmp_path):
    """Twelve rows of the tiny world, as a file."""
    rows = world.surd_rows("seen")[:12]
    path = tmp_path / "suite.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def of(records, event, **wanted):
    """Return the records of an event that hold the values."""
    return [r for r in records if r["event"] == event and all(r[k] == v for k, v in wanted.items())]


def test_an_adapter_at_eta_0_changes_no_figure(qr, adapters, suite):
    code, records, _ = qr(
        "eval", "generate", "--adapter", adapters / "still", "--suite", suite, *QUICK
    )
    assert code == 0
    for found in of(records, "compare"):
        assert (found["difference"], found["win"], found["loss"]) == (0, 0, 0)
        assert found["sign_p"] == 1
    base, adapter = (of(records, "embedding", condition=c)[0] for c in ("base", "adapter"))
    assert base["retrieval"] == adapter["retrieval"] and adapter["norm_ratio"] == pytest.approx(1)
    assert adapter["keyword_drift"] == pytest.approx(0, abs=1e-6)


def test_a_report_holds_figures_pictures_and_what_they_do_not_show(qr, adapters, suite):
    words = ("eval", "generate", "--adapter", adapters / "wild", "--suite", suite, *QUICK)
    code, records, _ = qr(*words, "--sweep-eta", "0.5", "--seeds", "0,1", "--out", "report")
    assert code == 0
    judged = of(records, "eval", condition="adapter", judge="both")
    assert {r["eta"] for r in judged} == {1.0, 0.5}
    assert {(r["n"], tuple(r["noise_seeds"]), r["adapters"]) for r in judged} == {(12, (0, 1), 1)}
    assert of(records, "dial", judge="tint")
    assert of(records, "compare", treated="keyword+adapter", measure="sharpness")
    folder = Path("report")
    assert records[-1] == {"event": "report", "report": "report/report.html"}
    stored = json.loads((folder / "report.json").read_text("utf-8"))
    assert stored["records"] == records[:-1]
    page = (folder / "report.html").read_text("utf-8")
    assert "nothing follows from it for Stable Diffusion" in page
    plots = {path.stem for path in (folder / "plots").glob("*.png")}
    assert plots == {"pictures", "accuracy", "eta", "labels", "outcomes", "attention", "embeddings"}
    assert (folder / "grid.png").is_file()
    assert len(list((folder / "images").glob("*.png"))) == 12 * 6
    code, _, said = qr(*words, "--out", "report")
    assert code == 2 and "--overwrite replaces it" in said


def test_pictures_of_all_conditions_start_from_the_same_noise(monkeypatch):
    from qr_cli.generate import measure

    seen = []

    def draw(pipe, prompts, negatives, latents, **settings):
        seen.append((prompts[0], latents.clone()))
        return type("Drawn", (), {"pictures": torch.zeros(len(prompts), 64, 64, 3).byte()})()

    monkeypatch.setattr(measure, "draw", draw)
    rows = world.surd_rows("seen")[:3]
    from qr_cli.generate.base import load_base

    look = measure.Look(measure.make_judges((), rows))
    measure.run_conditions(
        load_base("tiny"), rows, {}, (), look, seeds=(0, 1), steps=1, guidance=3, batch_size=2
    )
    by_text = {}
    for prompt, latents in seen:
        by_text.setdefault(prompt, []).append(latents)
    first = {row[key] for row in (rows[0], rows[2]) for key in ("text", "prompt")}
    assert set(by_text) == first
    for row in (rows[0], rows[2]):
        for one, other in zip(by_text[row["text"]], by_text[row["prompt"]], strict=True):
            assert torch.equal(one, other)
        assert not torch.equal(by_text[row["text"]][0], by_text[row["text"]][1])


def test_embeddings_alone_need_no_picture(qr, adapters, suite):
    code, records, _ = qr(
        "eval", "generate", "--adapter", adapters / "wild", "--suite", suite, "--no-images"
    )
    assert code == 0 and {record["event"] for record in records} == {"embedding"}
    keyword = of(records, "embedding", condition="keyword+adapter")
    assert len(keyword) == 1 and keyword[0]["kl"] > 0


def test_several_adapters_are_seeds_whose_range_is_shown(qr, adapters, suite):
    pair = f"{adapters / 'still'},{adapters / 'wild'}"
    words = ("eval", "generate", "--adapter", pair, "--suite", suite, *QUICK)
    code, _, said = qr(*words)
    assert code == 2 and "their etas differ (0, 1)" in said
    code, records, _ = qr(*words, "--eta", "1")
    (both,) = of(records, "compare", treated="adapter", measure="both")
    low, high = both["seed_range"]
    assert low <= both["difference"] <= high
    assert both["difference"] == pytest.approx((low + high) / 2)  # of two adapters


def test_few_prompts_give_no_interval(qr, adapters, suite):
    suite.write_text("".join(suite.read_text("utf-8").splitlines(keepends=True)[:3]), "utf-8")
    code, records, said = qr(
        "eval", "generate", "--adapter", adapters / "wild", "--suite", suite, *QUICK
    )
    assert code == 0 and "too few for intervals" in said
    assert of(records, "compare")[0]["low"] is None


# suites, judges ------------------------------------------------------------------------------


def test_plain30_has_ten_sentences_per_category_and_does_not_give_answers_away():
    rows = load_suite("plain30")
    kinds = [row["category"] for row in rows]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "color": 10,
        "counting": 10,
        "action": 10,
    }
    assert all(row["question"].endswith("?") for row in rows)
    for row in rows:
        assert row["answer"] not in row["text"].split()


def test_a_folder_of_texts_is_a_suite_without_keywords(qr, adapters, tmp_path):
    folder = tmp_path / "dpg"
    folder.mkdir()
    for name in ("b", "a"):
        (folder / f"{name}.txt").write_text(f"a number for\n{name}", "utf-8")
    rows = load_suite(f"dpg:{folder}")
    assert [(row["id"], row["text"]) for row in rows] == [
        ("a", "a number for a"),
        ("b", "a number for b"),
    ]
    code, records, _ = qr(
        "eval", "generate", "--adapter", adapters / "wild", "--suite", f"dpg:{folder}", *QUICK
    )
    assert code == 0
    assert {r["measure"] for r in of(records, "compare")} == {
        "sharpness",
        "colourfulness",
        "clipped",
    }


def test_answers_are_compared_without_case_articles_and_number_words():
    from qr_cli.generate.vqa import plain_answer

    assert plain_answer("The  Three.") == plain_answer("3")
    assert plain_answer("a white bicycle") == "white bicycle"


@pytest.fixture(scope="module")
def models(tmp_path_factory, sd15):
    """A tiny random CLIP and a tiny random BLIP, each with its processor."""
    import transformers as t

    folder = tmp_path_factory.mktemp("models")
    words = t.CLIPTokenizer.from_pretrained(sd15 / "tokenizer")
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
              "num_attention_heads": 2, "image_size": 32, "patch_size": 16}  # fmt: skip
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2, "vocab_size": len(words),
            "eos_token_id": words.eos_token_id, "bos_token_id": words.bos_token_id}  # fmt: skip
    config = t.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    size = {"height": 32, "width": 32}
    pixels = t.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size)
    t.CLIPModel(config).save_pretrained(folder / "clip")
    t.CLIPProcessor(pixels, words).save_pretrained(folder / "clip")
    return folder


def test_clip_score_of_a_local_folder(models):
    from qr_cli.generate.vqa import Clip

    clip = Clip(str(models / "clip"))
    pictures = torch.rand(3, 3, 64, 64)
    found = clip(pictures, ["a", "b", "c"])
    assert found.shape == (3,) and ((0 <= found) & (found <= 100)).all()
    inputs = clip.processor(images=list(pictures), do_rescale=False, return_tensors="pt")
    image = clip.model.get_image_features(**inputs)
    image = getattr(image, "pooler_output", image)
    text = clip.processor(text=["a", "b", "c"], padding=True, return_tensors="pt")
    words = clip.model.get_text_features(**text)
    words = getattr(words, "pooler_output", words)
    expected = 100 * torch.cosine_similarity(image.double(), words.double()).clamp_min(0)
    torch.testing.assert_close(found, expected)


def test_clip_rows_stand_in_the_answer_where_a_folder_is_given(qr, adapters, suite, models):
    code, records, _ = qr(
        "eval", "generate", "--adapter", adapters / "wild", "--suite", suite, *QUICK,
        "--clip", models / "clip",
    )  # fmt: skip
    assert code == 0
    assert {"clip_text", "clip_prompt"} <= {r["measure"] for r in of(records, "compare")}


def test_the_recipe_survives_its_own_yaml():
    recipe = GenerateEval()
    assert GenerateEval.model_validate(recipe.model_dump(mode="json")) == recipe
