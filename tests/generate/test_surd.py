"""SURD folders: collecting, checking, cleaning; and prompts without syntax."""

import json
import re

import pytest
from PIL import Image

from qr_cli.cli.app import run
from qr_cli.errors import DataError, UsageError
from qr_cli.generate import collect
from qr_cli.generate.clean import clean
from qr_cli.generate.surd import dump, read_surd, split_rows
from qr_cli.generate.survey import require, survey


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (
            "((masterpiece)), (best quality:1.2), girl <lora:x_v1:0.6>",
            "masterpiece, best quality, girl",
        ),
        (r"[cat:dog:0.5], a \(film\),, A (film", "dog, a film"),
        ("sky BREAK sea, Sky", "sky, sea"),
        ("a\nb\r\nc", "a, b, c"),
        ("[red|blue|green] hat, {x}, [y], [z:0.3]", "red hat, x, y, z"),
        ("(a (b:1.1) c:.9)", "a b c"),
        ("<(lora:x)>, a", "a"),
        ("1:2, a:b", "1:2, a:b"),
        ("(()), []", ""),
    ],
)
def test_a_prompt_is_left_with_its_words(raw, words):
    assert clean(raw) == words
    assert clean(words) == words


def page(*images):
    return {"items": [{"id": 1, "modelVersions": [{"images": list(images)}]}]}


def image(name, prompt="a, (b:1.2)", level="None", **meta):
    return {
        "url": f"https://x/{name}/width=450/{name}.jpeg",
        "nsfw": level,
        "meta": {"prompt": prompt, **meta} if prompt is not None else None,
    }


@pytest.fixture
def listing(tmp_path):
    """Two pages, pictures for two names, captions for three."""
    (tmp_path / "m1.json").write_text(
        json.dumps(page(image("a"), image("a", "again"), image("b", negativePrompt="bad")))
    )
    (tmp_path / "m2.json").write_text(
        json.dumps(
            page(
                image("c"), image("d", "[withheld]"), image("e", level="X"), image("f", None),
                image("g"),
            )
        )
    )  # fmt: skip
    (tmp_path / "img").mkdir()
    for name in "abg":
        Image.new("RGB", (8, 8)).save(tmp_path / "img" / f"{name}.png")
    captions = [{"image_name": "a", "text": "one"}, {"file_name": "b.png", "text": "two"}]
    (tmp_path / "captions.jsonl").write_text(dump(captions))
    return tmp_path


def test_a_listing_becomes_a_folder_and_every_loss_is_counted(listing):
    record = collect.build(
        ["m1.json", "m2.json"], "SURD", images="img", captions="captions.jsonl", urls="urls.txt"
    )
    assert record == {
        "event": "build", "pages": 2, "models": 2, "versions": 2, "total_items": 8,
        "image_items": 7, "repetition_items": 1, "unique_items": 6, "withheld": 1,
        "level_dropped": 1, "picture_missing": 1, "text_missing": 1, "clip_dropped": 0, "rows": 2,
        "out": "SURD",
    }  # fmt: skip
    rows = read_surd("SURD", pictures=True)
    assert [(r.texts, r.prompts) for r in rows] == [(("one",), ("a, b",)), (("two",), ("a, b",))]
    assert rows[1].values["negative"] == "bad"
    assert (listing / "urls.txt").read_text() == "c\thttps://x/c/width=450/c.jpeg\n"


def test_levels_and_cleaning_can_be_asked_for(listing):
    record = collect.build(
        ["m1.json", "m2.json"], "SURD", captions="captions.jsonl", levels=("None", "X"),
        cleaned=False,
    )  # fmt: skip
    assert (record["level_dropped"], record["picture_missing"]) == (0, None)
    assert read_surd("SURD", pictures=False)[0].prompts == ("a, (b:1.2)",)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "narratives are needed"),
        ({"captioner": "x"}, "--images: needed"),
        ({"captions": "captions.jsonl", "clip": "x"}, "--min-clip and --clip go together"),
    ],
)
def test_options_that_do_not_go_together(listing, settings, message):
    with pytest.raises(UsageError, match=message):
        collect.build(["m1.json"], "SURD", **settings)


def test_what_is_no_page_is_told_so(listing):
    (listing / "bad.json").write_text("[1]")
    with pytest.raises(DataError, match="bad.json is no page of a listing"):
        collect.build(["bad.json"], "SURD", captions="captions.jsonl")
    with pytest.raises(DataError, match="no row is left: pages 1, .*text_missing 5"):
        (listing / "empty.jsonl").write_text("")
        (listing / "m3.json").write_text(json.dumps(page(*map(image, "vwxyz"))))
        collect.build(["m3.json"], "SURD", captions="empty.jsonl")
    assert not (listing / "SURD").exists()


def make_surd(folder, rows, pictures="ab"):
    (folder / "train").mkdir(parents=True)
    for name in pictures:
        Image.new("RGB", (8, 8)).save(folder / "train" / f"{name}.png")
    (folder / "train" / "metadata.jsonl").write_text(dump(rows))
    return folder


def row(name, **values):
    return {"file_name": name, "text": "a sentence", "prompt": "key, words"} | values


GOOD = [row("a.png"), row("b", text=["one", "two"], label={"digit": 1})]


def test_a_name_without_extension_is_resolved_with_a_warning(tmp_path, caplog):
    rows = read_surd(make_surd(tmp_path / "s", GOOD), pictures=True)
    assert [r.picture.name for r in rows] == ["a.png", "b.png"]
    assert "1 file names without extension were resolved" in caplog.text
    assert rows[1].texts == ("one", "two") and rows[1].label == {"digit": 1}


@pytest.mark.parametrize("path", ["s", "s/train", "s/train/metadata.jsonl"])
def test_folder_train_folder_and_file_are_the_same(tmp_path, path):
    make_surd(tmp_path / "s", GOOD)
    assert len(read_surd(path, pictures=True)) == 2


BAD = [
    (row("a.png", text=""), "line 3: no text", "empty_text"),
    (row("a.png", text=None), "line 3: no text", "empty_text"),
    (row("a.png", prompt=["x", 1]), "line 3: no prompt", "empty_prompt"),
    (row("a.png"), "line 3: a.png again", "duplicate_names"),
    (row("c.png"), "line 3: no picture c.png", "missing_pictures"),
]


@pytest.mark.parametrize(("bad", "message", "kind"), BAD)
def test_a_row_that_cannot_be_used_is_named_refused_or_left_out(tmp_path, bad, message, kind):
    folder = make_surd(tmp_path / "s", [*GOOD, bad])
    with pytest.raises(DataError, match=message) as fault:
        read_surd(folder, pictures=True)
    assert "--skip-missing" in fault.value.hint
    assert len(read_surd(folder, pictures=True, skip_missing=True)) == 2
    record = survey(folder)
    assert record[kind] == 1 and not record["ok"] and record["faults"] == [message]
    with pytest.raises(DataError, match=f"1 {kind.replace('_', ' ')}"):
        require(record)


def test_five_rows_are_named_and_the_rest_counted(tmp_path):
    folder = make_surd(tmp_path / "s", [row(f"{i}.png") for i in range(8)])
    with pytest.raises(DataError, match="8 rows cannot be used: .*; and 3 more"):
        read_surd(folder, pictures=True)


def test_lines_that_are_no_json_and_pictures_that_are_none(tmp_path):
    folder = make_surd(tmp_path / "s", GOOD)
    file = folder / "train" / "metadata.jsonl"
    file.write_text(file.read_text() + "{\n[1]\n\n")
    (folder / "train" / "b.png").write_bytes(b"no picture")
    record = survey(folder)
    assert (record["unreadable_lines"], record["undecodable"], record["rows"]) == (2, 1, 1)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="not UTF-8"):
        read_surd(folder, pictures=False)


def test_without_metadata_there_is_nothing_to_read(tmp_path):
    with pytest.raises(DataError, match="holds no metadata.jsonl"):
        read_surd(tmp_path, pictures=False)


def test_one_row_in_twenty_is_held_out_and_a_given_split_wins(tmp_path):
    rows = [row(f"{i}.png", text=f"text {i}") for i in range(400)]
    file = tmp_path / "metadata.jsonl"
    file.write_text(dump(rows))
    train, val = split_rows(read_surd(file, pictures=False))
    assert len(train) + len(val) == 400 and 8 <= len(val) <= 35
    for r in rows[:3]:
        r["split"] = "val"
    rows[3]["split"] = "recombined"
    file.write_text(dump(rows))
    train, val = split_rows(read_surd(file, pictures=False))
    assert (len(train), len(val)) == (396, 3)


def test_metadata_alone_is_checked_without_pictures(tmp_path):
    (tmp_path / "metadata.jsonl").write_text(dump(GOOD))
    record = survey(tmp_path / "metadata.jsonl")
    assert record["ok"] and record["missing_pictures"] is None
    assert (record["words_text_p50"], record["words_prompt_p50"]) == (1, 2)


def test_build_check_and_clean_from_the_command_line(tmp_path, capsys):
    assert run(["data", "surd", "build", "--world", "tiny", "--out", "tiny", "--json"]) == 0
    built = json.loads(capsys.readouterr().out)
    assert built["rows"] == 2400
    assert run(["data", "surd", "check", "tiny", "--json", "--base", "tiny"]) == 0
    checked = json.loads(capsys.readouterr().out)
    assert checked["ok"] and checked["splits"] == {"train": 2400}
    assert (checked["truncated_text"], checked["undecodable"]) == (0, 0)
    make_surd(tmp_path / "s", [row("a.png", prompt="(x:1.2)"), row("b.png")])
    assert run(["data", "surd", "clean", "s", "--out", "t", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["changed"] == 1
    assert read_surd("t", pictures=True)[0].prompts == ("x",)
    (tmp_path / "t" / "train" / "a.png").unlink()
    assert run(["data", "surd", "check", "t", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["missing_pictures"] == 1
    assert run(["data", "surd", "build", "--world", "big", "--out", "u"]) == 2
    assert run(["data", "surd", "clean", "s", "--out", "t"]) == 2


def test_the_painted_digits_give_back_the_latents_they_were_painted_from(tmp_path):
    from qr_cli.generate.digits import load_digits
    from qr_cli.generate.pictures import load_picture
    from qr_cli.generate.tiny import TinyVAE

    collect.write_tiny(tmp_path / "s")
    first = read_surd(tmp_path / "s", pictures=True)[0]
    latent = TinyVAE().encode(load_picture(first.picture, 64)[None]).latent_dist.sample()[0]
    grey = (latent.amax(0) + 1) / 2  # every tint has a channel of at least 0.9
    known = load_digits("generator")
    known = known.grey[known.labels == first.label["digit"]]
    scale = grey.amax() / known.amax((1, 2), keepdim=True).clamp_min(1e-6)
    assert ((known * scale - grey).abs().amax((1, 2))).min() < 0.02


@pytest.mark.data
def test_the_published_pages_give_the_known_counts(surd, tmp_path):
    found = collect.collect([surd / f"meta-{i}.json" for i in (1, 2, 3)])
    assert found.counts == {
        "pages": 3, "models": 60, "versions": 421, "total_items": 3251, "image_items": 2995,
        "repetition_items": 26, "unique_items": 2961,
    }  # fmt: skip
    kept = [item for item in found.items if item["prompt"] != collect.WITHHELD]
    assert len(kept) == 1846 and {item["level"] for item in kept} == {"None"}
    texts = [item["prompt"] for item in kept]
    assert len(set(texts)) == 1312
    cleaned = [clean(text) for text in texts]
    assert sum(a != b for a, b in zip(texts, cleaned, strict=True)) == 1601
    assert all(cleaned) and len(set(cleaned)) == 1250
    assert [clean(text) for text in cleaned] == cleaned
    assert not [text for text in cleaned if re.search(r"<\w+:|[()\[\]{}]", text)]


@pytest.mark.data
def test_the_published_folder_is_read_and_its_captions_join(surd):
    rows = read_surd(surd / "sur_data_small", pictures=True)
    assert len(rows) == 1 and rows[0].picture.suffix == ".png"
    record = collect.build(
        [surd / f"meta-{i}.json" for i in (1, 2, 3)], "SURD", captions=str(surd / "metadata.jsonl")
    )
    assert (record["withheld"], record["level_dropped"]) == (1115, 0)
    assert record["rows"] + record["text_missing"] == 1846 and record["rows"] == 2
