"""Lines of JSON, tables and YAML: dialogues, problems, prompts, recipes, what runs leave behind."""

from __future__ import annotations

import json
import sys

import numpy as np
import torch
from fuzz.readers import Reader

from qr_cli.engine.resolve import read_recipe, resolve
from qr_cli.errors import QrError


def lines(path, *records):
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), "utf-8")
    return path


# dialogues and events ------------------------------------------------------------------------

TURNS = [
    {"role": "customer", "text": "My order is late, 退货!", "sentiment": 0, "handoff": 0},
    {"role": "agent", "text": "Sorry!", "handoff": 0.5, "ts": "2026-01-01T10:00:00Z"},
]


def make_dialogues(folder):
    one = {"session_id": "a1", "lang": "en", "satisfaction": 0, "utterances": TURNS}
    ids = {"session_id": 2, "utterances": [
        {"role": "c", "tokens": [3, 4], "pos": [1, 2], "tf": [0.5, 0.1], "O": 3, "T": 1, "X": 9}
    ]}  # fmt: skip
    return [lines(folder / "a.jsonl", one, one), lines(folder / "b.jsonl", ids)]


def read_dialogues(path):
    from qr_cli.handoff.convert import stats
    from qr_cli.handoff.mhch import digest, read_jsonl, to_json

    for dialogue in (found := read_jsonl(path)):
        json.dumps(to_json(dialogue), ensure_ascii=False).encode()
    digest(found)
    stats(str(path))


def make_corpora(folder):
    (folder / "ssa.txt").write_text("1\n0\tc:\t4 5\t1\n1\tb:\t6\t3\n\n3\n0\tc:\t\t2\n")
    session = [{"content": "你好", "label": 1, "role": "c2b", "senti": "4"}]
    lines(folder / "cmhch.json", {"sessionID": "x", "score": "2", "session": session})
    turns = [{"speaker": "S", "utterance": "Eh", "annotations": [{"breakdown": "O"}]}]
    lines(folder / "dbdc3.json", {"dialogue-id": "d", "turns": turns})
    return [folder / "ssa.txt", folder / "cmhch.json", folder / "dbdc3.json"]


def read_corpora(path):
    from qr_cli.handoff.convert import convert

    convert(str(path), str(path.parent / "out.jsonl"), kind=path.stem, overwrite=True)


def make_events(folder):
    events = [{"session_id": "s", "id": i, "index": i, **turn} for i, turn in enumerate(TURNS)]
    whole = {"session_id": "t", "utterances": TURNS}
    return [
        lines(folder / "a.jsonl", *events, {"session_id": "s", "event": "end"}),
        lines(folder / "b.jsonl", whole, *events),
    ]


def read_events(path):
    from qr_cli.handoff.ask import ask
    from qr_cli.handoff.ask_recipe import Ask, Input

    for _, record in ask(Ask(input=Input(input=(str(path),)))):
        json.dumps(record)


# what UniGeo and Inter-GPS publish as JSON ---------------------------------------------------


def make_published(folder):
    """The re-release of UniGeo as one file, and one problem of Inter-GPS as a folder."""
    row = {"problem": "angle A = N_0", "program": "g_half N_0", "numbers": [4.0], "answer": 2}
    lines(folder / "test.json", {"77": row, "78": row | {"choices": [1, 2], "label": 1}})
    inter = folder / "11"
    inter.mkdir()
    data = {"id": 11, "compact_text": "Find AB.", "choices": ["1", "2"], "answer": "B"}
    lines(inter / "data.json", data)
    lines(inter / "logic_form.json", {"point_positions": {"A": [0, 0], "B": [3, 4]}})
    return [folder / "test.json", inter / "data.json", inter / "logic_form.json"]


def read_published(path):
    from qr_cli.geo.records import read as read_problems
    from qr_cli.geo.unigeo import convert

    source, dialect = (path, "unigeo") if path.stem == "test" else (path.parent, "intergps")
    convert([source], path.parent / "out", dialect=dialect, overwrite=True)
    for file in (path.parent / "out").glob("*.jsonl"):
        list(read_problems(file))


# geometry ------------------------------------------------------------------------------------

CALCULATION = {
    "id": "1", "task": "calculation", "text": "In triangle ABC, angle A = 50°, angle B = 60°. "
    "Find angle C.", "choices": ["70°", "2√3", "1/2", "90"], "label": 0,
    "numbers": [50, 60], "program": "g_add 50 60",
}  # fmt: skip
PROVING = {
    "id": "2", "text": "Given AB ∥ CD. Prove that angle A = angle C. (Elements: A B , C D , )",
    "proof": "R_14 E_0 congruent E_0", "points": {"A": [0, 0], "B": [3, 4.5]}, "y_down": True,
    "collinear": [["A", "B", "C"]],
}  # fmt: skip


def make_problems(folder):
    (folder / "c.json").write_text(json.dumps({"7": {"problem": "angle A = N_0", "numbers": [4]}}))
    return [
        lines(folder / "a.jsonl", CALCULATION, PROVING),
        lines(folder / "b.jsonl", PROVING),
        folder / "c.json",
    ]


def read_problems(path):
    from qr_cli.geo.records import read

    list(read(path))


def read_solving(path):
    from qr_cli.geo.recipe import GeoSolve, Source
    from qr_cli.geo.stream import answers

    for item in answers(GeoSolve(source=Source(files=(str(path),)))):
        if item.answer is not None:
            json.dumps(item.answer.record)


def make_programs(folder):
    program = {"id": "p", "program": "g_half N_0 g_add V_0 N_1", "numbers": [6, 2], "choices": [5]}
    proof = {"id": "q", "text": PROVING["text"], "proof": "R_14 E_0 congruent E_0"}
    return [lines(folder / "exec.jsonl", program, program), lines(folder / "check.jsonl", proof)]


def read_programs(path):
    from qr_cli.geo import tools

    with path.open(encoding="utf-8", errors="surrogateescape") as sys.stdin:  # as `qr` does
        if path.stem == "exec":
            found = list(tools.run_programs("-", None, None, mode="strict", dialect="unigeo"))
        else:
            found = list(tools.check_proofs("-", None, None, strict=False, numeric=True))
    for result in found:
        json.dumps(result.record)


# prompts and SURD ----------------------------------------------------------------------------


def make_prompts(folder):
    (folder / "b.txt").write_text("a number for the legs of a spider\n\n数字\n", "utf-8")
    one = {"id": "x", "prompt": "a boat", "negative": "b", "seed": 7, "steps": 3, "guidance": 2.5}
    return [lines(folder / "a.jsonl", one, {"prompt": "two"}), folder / "b.txt"]


def read_prompts(path):
    from qr_cli.generate.prompts import from_file

    list(from_file(str(path)))


def make_surd(folder):
    from PIL import Image

    for name in ("a.png", "b.png"):
        Image.new("RGB", (8, 8), "red").save(folder / name)
    row = {"file_name": "a.png", "text": ["a red square"], "prompt": "red", "split": "train"}
    return [lines(folder / "metadata.jsonl", row, row | {"file_name": "b.png"}), folder / "a.png"]


def read_surd(path):
    from qr_cli.generate import surd

    surd.scan(surd.metadata_file(path.parent), pictures=True, decode=True)
    surd.read_surd(path.parent, pictures=True)


def make_listing(folder):
    image = {"url": "http://x/y/name/w/a.png", "meta": {"prompt": "a boat"}, "nsfw": "None"}
    page = {"items": [{"modelVersions": [{"images": [image]}]}]}
    (folder / "a.json").write_text(json.dumps(page))
    return [folder / "a.json"]


def read_listing(path):
    from qr_cli.generate.collect import collect

    collect([path])


def make_suites(folder):
    row = {"id": "1", "category": "color", "text": "a boat", "prompt": "boat"}
    return [lines(folder / "a.jsonl", row, row)]


def read_suites(path):
    from qr_cli.generate.suites import load_suite

    load_suite(str(path))


def make_pairs(folder):
    row = {"id": "1", "hsi": "a.mat", "msi": "b.tif", "out": "c.tif", "seed": 3}
    return [lines(folder / "a.jsonl", row, row)]


def read_pairs(path):
    from qr_cli.fuse.recipe import Fuse
    from qr_cli.fuse.scenes import each, lines_of

    for record, _ in each(lines_of(str(path)), Fuse(), lambda recipe: {}):
        json.dumps(record)


# recipes and runs ----------------------------------------------------------------------------


def make_recipes(folder):
    from qr_cli.engine.resolve import shipped

    found = []
    for task in ("attention", "geo", "handoff", "generate"):
        path = shipped(task)["sur-tiny" if task == "generate" else next(iter(shipped(task)))]
        target = folder / f"{task}.yaml"
        target.write_bytes(path.read_bytes())
        found.append(target)
    return found


def read_recipes(path):
    from qr_cli.attention.recipe import Attention
    from qr_cli.generate.recipe import SurTrain
    from qr_cli.geo.train_recipe import GeoTrain
    from qr_cli.handoff.recipe import Handoff

    kinds = {"attention": Attention, "geo": GeoTrain, "handoff": Handoff, "generate": SurTrain}
    resolve(kinds[path.stem], file=read_recipe(path.stem, str(path)))


def make_runs(folder):
    from qr_cli.attention.recipe import Attention
    from qr_cli.engine.run import dump_yaml

    (folder / "recipe.yaml").write_text(dump_yaml(Attention()))
    (folder / "run.json").write_text(json.dumps({"task": "attention", "seconds": 3.5}))
    records = [{"event": "epoch", "epoch": 1, "loss": 0.5}, {"event": "result", "top1": 0.5}]
    return [
        folder / "recipe.yaml",
        lines(folder / "metrics.jsonl", *records),
        folder / "run.json",
    ]


def read_runs(path):
    from qr_cli.attention.recipe import Attention
    from qr_cli.attention.runs import read_run
    from qr_cli.engine.report import write_report
    from qr_cli.engine.run import RunFolder

    folder = path.parent
    read_run(folder)
    write_report(folder, title="a", lead="b", figures=())
    try:
        RunFolder(folder).check(Attention(), resume=True, overwrite=False)
    except QrError as error:
        assert error.exit_code == 2, error


# tables --------------------------------------------------------------------------------------


def make_vectors(folder):
    np.save(folder / "a.npy", np.ones((4, 3), np.float32))
    (folder / "b.txt").write_text("2 3\na 1 2 3\nb 0.5 1e-3 -2\n")
    return [folder / "a.npy", folder / "b.txt"]


def read_vectors(path):
    from qr_cli.handoff.tokens import Vocabulary
    from qr_cli.handoff.vectors import load_vectors

    tokens = [0, 1, 3] if path.suffix == ".npy" else ["a", "b"]
    vocabulary = Vocabulary(tokens)
    load_vectors(torch.nn.Embedding(len(vocabulary), 3), vocabulary, str(path))


def make_boxes(folder):
    box = {"category": "cat", "xyxy": [0, 0, 4, 4]}
    (folder / "a.json").write_text(
        json.dumps([{"file": "a.png", "width": 8, "height": 8, "objects": [box]}])
    )
    (folder / "b.csv").write_text("image,label,xmin,ymin,xmax,ymax\na.png,cat,0,0,4,4\n")
    (folder / "c.xml").write_text(
        "<annotation><filename>a.png</filename><size><width>8</width><height>8</height></size>"
        "<object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>4</ymax>"
        "</bndbox></object></annotation>"
    )
    coco = {
        "categories": [{"id": 1, "name": "cat"}],
        "images": [{"id": 1, "file_name": "a.png", "width": 8, "height": 8}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 4, 4]}],
    }
    (folder / "d.json").write_text(json.dumps(coco))
    return [folder / name for name in ("a.json", "b.csv", "c.xml", "d.json")]


def read_boxes(path):
    from qr_cli.attention import boxes
    from qr_cli.attention.data import ImageSet

    images = ImageSet(
        torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.tensor([0]), ("cat",),
        names=(f"{path.stem if path.suffix == '.xml' else 'a'}.png",),
    )  # fmt: skip
    boxes.read_boxes(path, images)


dialogues = Reader(make_dialogues, read_dialogues)
corpora = Reader(make_corpora, read_corpora)
published = Reader(make_published, read_published)
events = Reader(make_events, read_events)
problems = Reader(make_problems, read_problems)
solving = Reader(make_problems, read_solving)
programs = Reader(make_programs, read_programs)
prompts = Reader(make_prompts, read_prompts)
surd = Reader(make_surd, read_surd)
listing = Reader(make_listing, read_listing)
suites = Reader(make_suites, read_suites)
pairs = Reader(make_pairs, read_pairs)
recipes = Reader(make_recipes, read_recipes, (2, 3))
runs = Reader(make_runs, read_runs, (2, 3))
vectors = Reader(make_vectors, read_vectors)
boxes = Reader(make_boxes, read_boxes)
