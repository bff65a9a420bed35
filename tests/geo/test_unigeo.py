"""Official-style pickles, JSON and folders become JSON lines that read back."""

import json
import pickle

import numpy as np
import pytest
from PIL import Image

from qr_cli.errors import DataError, UsageError
from qr_cli.geo.records import read
from qr_cli.geo.unigeo import convert

CALCULATION = {
    "id": 11, "image": np.full((4, 5), 200, dtype=np.uint8), "subject": "题",
    "token_list": ["angle"], "English_problem": "angle A = N_0 , find angle B .",
    "choices": ["1", "2", "3", "4"], "choice_nums": [1.0, 2.0, 3.0, 4.0], "label": 2,
    "answer": "故选C", "manual_program": ["g_half", "N_0"], "numbers": [6], "formal_point": {"A"},
}  # fmt: skip
PROVING = {
    "id": 12, "img": np.zeros((3, 4, 3), dtype=np.uint8), "problem_type": "congruent",
    "input_text": "Given A B ≅ C D . Complete the proof that A B ≅ C D . (Elements: A B , C D , )",
    "proving_sequence": ["R_14", "E_0", "congruent", "E_0"],
}  # fmt: skip


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_are_converted(protocol, tmp_path):
    files = [
        tmp_path / "calculation_train.pk",
        tmp_path / "proving_test.pk",
        tmp_path / "sub_dataset_dict.pk",
    ]
    for file, value in zip(files, ([CALCULATION], [PROVING], {11: "angle"}), strict=True):
        file.write_bytes(pickle.dumps(value, protocol))
    manifest = convert(files, tmp_path / "out")
    assert manifest["counts"] == {"train calculation": 1, "test proving": 1}
    assert len(manifest["sources"]["proving_test.pk"]) == 64
    (one,) = read(tmp_path / "out" / "train.jsonl")
    assert (one.program, one.label, one.category, one.text) == (
        "g_half N_0", 2, "angle", "angle A = 6 , find angle B .")  # fmt: skip
    assert Image.open(one.diagram).size == (5, 4)
    (two,) = read(tmp_path / "out" / "test.jsonl")
    assert (two.task, two.proof) == ("proving", "R_14 E_0 congruent E_0")
    assert not list(tmp_path.glob(".*"))


def test_nothing_is_overwritten_unasked_and_nothing_half_is_left(tmp_path):
    file = tmp_path / "calculation_val.pk"
    file.write_bytes(pickle.dumps([{"id": 1}]))
    with pytest.raises(DataError, match="problem 0: cannot be read"):
        convert([file], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    file.write_bytes(pickle.dumps([CALCULATION]))
    convert([file], tmp_path / "out")
    with pytest.raises(UsageError, match="is there already"):
        convert([file], tmp_path / "out")
    convert([file], tmp_path / "out", overwrite=True)


def test_the_json_of_the_re_release_is_read(tmp_path):
    record = {"problem": "Calculation: angle A = N_0", "program": "g_half N_0", "numbers": [4.0]}
    file = tmp_path / "test.json"
    file.write_text(json.dumps({"77": record}))
    (one,) = read(file)
    assert (one.id, one.program) == ("77", "g_half N_0")


def test_an_inter_gps_folder_is_read(tmp_path):
    folder = tmp_path / "11"
    folder.mkdir()
    data = {"id": 11, "compact_text": "Find AB.", "choices": ["1", "2"], "answer": "B"}
    (folder / "data.json").write_text(json.dumps(data))
    form = {"point_positions": {"A": [0, 0], "B": [3, 4]}}
    (folder / "logic_form.json").write_text(json.dumps(form))
    convert([folder], tmp_path / "out", dialect="intergps")
    (one,) = read(tmp_path / "out" / "train.jsonl")
    assert (one.label, one.points) == (1, {"A": (0, 0), "B": (3, -4)})


def test_a_diagram_that_is_none_is_said(tmp_path):
    folder = tmp_path / "17"
    folder.mkdir()
    (folder / "data.json").write_text('{"id": 17, "problem_text": "Find x."}')
    (folder / "logic_form.json").write_text("{}")
    (folder / "img_diagram.png").write_bytes(b"\x89PNG, and no more")
    with pytest.raises(DataError, match="img_diagram.png is no picture"):
        convert([folder], tmp_path / "out", dialect="intergps")
    assert not (tmp_path / "out").exists()


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        convert([tmp_path / "none.pk"], tmp_path / "out")
