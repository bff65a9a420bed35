"""What `qr generate` and `qr eval generate` refuse: a sentence, a hint, the exit code."""

import json
from typing import NamedTuple

import pytest
import torch

from qr_cli.cli.app import run
from qr_cli.cli.output import out


class Row(NamedTuple):
    """A command line (@ stands for the folder of files), its exit code, words of error and hint."""

    words: str
    code: int
    says: str
    hint: str = ""


EVAL = "eval generate --adapter @/sur --suite @/suite.jsonl --no-images"
ROWS = [
    # base
    Row("generate x --base @/empty", 3, "not a diffusers folder: ", "convert the file"),
    Row("generate x --base @/one.safetensors", 3, "not a diffusers folder: ", "from_single_file"),
    Row("generate x --base runwayml/sd", 3, "runwayml/sd is not on this machine", "--base tiny"),
    Row("generate x --base @/no/such/folder", 3, "is not on this machine; qr downloads nothing"),
    Row("generate x --base @/sdxl", 2, "StableDiffusionXL has 2 text encoders; the SUR-adapter is"),
    Row("generate x --base @/flux", 2, "Flux is another family; the SUR-adapter is defined for"),
    Row("generate x --base @/broken", 3, "model_index.json cannot be read"),
    Row("generate x --base @/hollow --adapter none", 4, "hollow cannot be loaded"),
    Row("generate x --base @/wishes --dry-run", 3, "qr.json cannot be read"),
    # adapter
    Row("generate x --adapter @/wide", 4, "adapter is 16 wide, the text encoder of tiny-sd 64"),
    Row("generate x --adapter @/other --strict", 4, "was trained for sd15; the text encoder of"),
    Row("generate x --adapter @/no", 4, "there is no adapter", "--adapter tiny"),
    Row("generate x --eta 3 --adapter @/sur", 2, "--eta: should be less than or equal to 2, got 3"),
    Row("generate x --eta nan --adapter @/sur", 2, "--eta: should be a finite number, got nan"),
    Row("generate x --sweep-eta 0,9 --adapter @/sur", 2, "--sweep-eta: should be less than or"),
    Row("generate x --sweep-eta 1,1 --adapter @/sur", 2, "--sweep-eta: values must differ"),
    Row("generate x --compare --adapter none", 2, "--compare: no --adapter is given"),
    Row("generate x --eta 1 --base sd15", 2, "--eta: no --adapter is given"),
    Row("generate x --compare --sweep-eta 0,1", 2, "--compare: cannot go with --sweep-eta"),
    # prompts
    Row("generate", 2, "no PROMPT is given", 'qr generate "a number'),
    Row("generate x --prompts y", 2, "--prompts: cannot go with a PROMPT"),
    Row("generate --prompts @/no.txt", 3, "no.txt: no such file", "--prompts FILE"),
    Row("generate --prompts @/empty.txt --dry-run", 3, "empty.txt holds no prompt"),
    # sampling
    Row(
        "generate x --height 60 --adapter none", 2, "should be a multiple of 8, got 60", "56 or 64"
    ),
    Row("generate x --width 9 --adapter none", 2, "should be a multiple of 8, got 9", "8 or 16"),
    Row("generate x --steps 0", 2, "--steps: should be greater than or equal to 1, got 0"),
    Row(
        "generate x --scheduler dpm", 2, "--scheduler: should be 'keep', 'ddim'", "--scheduler keep"
    ),
    Row("generate x --device cuda", 5, "--device: cuda is not available here", "--device cpu"),
    Row("generate x --precision fp16 --device cpu", 5, "--precision: fp16 needs a GPU"),
    # evaluation
    Row("eval generate --suite tiny/recombine", 2, "did you mean 'tiny/recombined'", "qr list gen"),
    Row("eval generate --suite dpg", 2, "dpg needs a folder", "--suite dpg:FOLDER"),
    Row("eval generate --suite dpg:@/empty", 3, "holds no .txt file"),
    Row("eval generate --suite @/half.jsonl", 3, "line 2: no text", '{"id": "1"'),
    Row("eval generate --suite @/mixed.jsonl", 3, "some rows have a prompt, some have none"),
    Row("eval generate --suite plain30 --judges tint", 2, "tint needs label.tint, which the suite"),
    Row("eval generate --judges vqa:@/empty", 2, "needs question, which the suite does not have"),
    Row("eval generate --suite plain30 --judges vqa:@/no", 4, "holds no BlipForQuestionAnswering"),
    Row("eval generate --suite plain30 --judges vqa:@/clip", 4, "holds CLIPModel, not BlipForQ"),
    Row("eval generate --judges tints", 2, "unknown judge 'tints' (did you mean 'tint'?)"),
    Row("eval generate --clip @/empty", 4, "holds no CLIPModel: no readable config.json"),
    Row("eval generate --seeds 1,1", 2, "--seeds: must differ, got 1,1"),
    Row(f"{EVAL} --out @/empty.txt", 2, "is a file", "--out FOLDER"),
    Row(f"{EVAL} --out @", 2, "something else than a report", "--out another folder"),
    # the base anew
    Row("data tiny-sd build", 2, "no place to write to", "--out DIR"),
    Row("data tiny-sd build --out @", 2, "is not empty", "--overwrite"),
    Row("data tiny-sd build --out @/new --steps 50", 2, "--warmup: 100 is not below --steps 50"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    from qr_cli.generate.adapter import SURAdapter
    from qr_cli.generate.folder import save_adapter

    folder = tmp_path_factory.mktemp("files")
    for name in ("empty", "sdxl", "flux", "broken", "hollow", "wishes", "clip"):
        (folder / name).mkdir()
    text = ["transformers", "CLIPTextModel"]
    parts = {"text_encoder": text, "vae": ["diffusers", "AutoencoderKL"]}
    unet = {"unet": ["diffusers", "UNet2DConditionModel"]}
    for name, index in {
        "sdxl": {
            "_class_name": "StableDiffusionXLPipeline",
            **parts,
            **unet,
            "text_encoder_2": text,
        },
        "flux": {"_class_name": "FluxPipeline", **parts},
        "hollow": {"_class_name": "StableDiffusionPipeline", **parts, **unet},
        "wishes": {"_class_name": "StableDiffusionPipeline", **parts, **unet},
    }.items():
        (folder / name / "model_index.json").write_text(json.dumps(index), "utf-8")
    (folder / "broken" / "model_index.json").write_text("{", "utf-8")
    (folder / "wishes" / "qr.json").write_text("[", "utf-8")
    (folder / "clip" / "config.json").write_text('{"architectures": ["CLIPModel"]}', "utf-8")
    (folder / "one.safetensors").write_bytes(b"")
    (folder / "empty.txt").write_text("\n", "utf-8")
    row = {"id": "1", "category": "x", "text": "a", "prompt": "b"}
    for name, second in (("half", {"id": "2", "category": "x"}), ("mixed", row | {"prompt": None})):
        lines = [json.dumps(row), json.dumps({k: v for k, v in second.items() if v})]
        (folder / f"{name}.jsonl").write_text("\n".join(lines), "utf-8")
    (folder / "suite.jsonl").write_text(json.dumps(row), "utf-8")
    torch.manual_seed(0)
    for name, width, mark in (("sur", 64, ""), ("wide", 16, ""), ("other", 64, "0" * 64)):
        made = SURAdapter(
            width, ffn_dim=16, eta=1.0, max_tokens=32, base_name="sd15", base_text_fingerprint=mark
        )
        save_adapter(made, folder / name, card="a test's")
    return folder


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.words[:60])
def test_bad_input_is_told_in_a_sentence(row, files, capsys):
    code = run(row.words.replace("@", str(files)).split())
    said = capsys.readouterr()
    out.configure()
    assert code == row.code, said.err
    assert row.says in said.err and row.hint in said.err
    assert "Traceback" not in said.err


def test_another_base_is_a_warning_that_names_both(files, capsys):
    words = ["generate", "x", "--adapter", str(files / "other"), "--steps", "1"]
    assert run(words) == 0
    said = capsys.readouterr().err
    assert "trained for sd15; the text encoder of tiny-sd differs" in said
    out.configure()


def test_an_eta_above_1_is_a_warning(files, capsys):
    words = ["generate", "x", "--adapter", str(files / "sur"), "--steps", "1", "--eta", "1.37"]
    assert run(words) == 0
    assert capsys.readouterr().err.count("extrapolates") == 1
    out.configure()


def test_a_missing_package_is_told_with_what_to_install(monkeypatch, capsys):
    from qr_cli.generate import extra

    monkeypatch.setattr(extra, "find_spec", lambda name: None)
    assert run(["generate", "x"]) == 5
    said = capsys.readouterr().err
    assert "the package diffusers" in said and "pip install 'qr-cli[generate]'" in said
    out.configure()
