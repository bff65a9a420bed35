"""Boxes: four formats, matching of names and labels, bad boxes, resize and crop."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from qr_cli.attention.augment import Fetch
from qr_cli.attention.boxes import Boxes, centre_view, read_boxes
from qr_cli.attention.data import ImageSet, read
from qr_cli.errors import DataError

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
CLASSES = ("goldfish, Carassius auratus", "Bullfrog", "ox")
HEADER = "image,label,xmin,ymin,xmax,ymax\n"


def images(names=("a.jpg", "b.jpg", "c.jpg"), size=(40, 60), n=3):
    pixels = torch.zeros(n, 3, *size, dtype=torch.uint8)
    return ImageSet(pixels, torch.arange(n) % 3, CLASSES, names=names)


def written(path, text):
    path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
    return path


def voc(name, corners, label="ox", difficult=0, size=(60, 40)):
    inner = "".join(
        f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    )
    return (
        f"<annotation><filename>{name}</filename>"
        f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
        f"<object><name>{label}</name><difficult>{difficult}</difficult>"
        f"<bndbox>{inner}</bndbox></object></annotation>"
    )


def test_csv_corners_are_half_open_floats_and_labels_may_be_empty(tmp_path) -> None:
    file = written(tmp_path / "b.csv", HEADER + "a.jpg,ox,1.5,2,10,20\na.jpg,,0,0,5,5\n")
    found = read_boxes(file, images())
    assert found.boxes[0].xyxy.tolist() == [[1.5, 2, 10, 20], [0, 0, 5, 5]]
    assert found.boxes[0].labels.tolist() == [2, -1]
    assert (found.matched, found.unmatched, found.boxes[1]) == (1, 2, None)


def test_voc_corners_are_one_based_and_inclusive(tmp_path) -> None:
    written(tmp_path / "a.xml", voc("a", (1, 1, 60, 40)))
    written(tmp_path / "c.xml", voc("c", (11, 6, 20, 15), difficult=1))
    found = read_boxes(tmp_path, images())
    assert found.boxes[0].xyxy.tolist() == [[0, 0, 60, 40]]
    assert found.boxes[2].xyxy.tolist() == [[10, 5, 20, 15]]


def test_coco_boxes_are_corner_and_size_and_crowds_are_dropped(tmp_path) -> None:
    content = {
        "images": [{"id": 7, "file_name": "dir/b.png", "width": 60, "height": 40}],
        "categories": [{"id": 3, "name": "bullfrog"}],
        "annotations": [
            {"image_id": 7, "category_id": 3, "bbox": [4, 5, 10, 20], "iscrowd": 0},
            {"image_id": 7, "category_id": 3, "bbox": [0, 0, 60, 40], "iscrowd": 1},
        ],
    }
    found = read_boxes(written(tmp_path / "c.json", content), images())
    assert found.boxes[1].xyxy.tolist() == [[4, 5, 14, 25]]
    assert found.boxes[1].labels.tolist() == [1]


def test_a_list_of_files_with_objects_is_half_open(tmp_path) -> None:
    objects = [{"category": "Goldfish", "xyxy": [1, 2, 3.5, 4]}]
    content = [{"file": "x/c.jpg", "width": 60, "height": 40, "objects": objects}]
    found = read_boxes(written(tmp_path / "l.json", content), images())
    assert found.boxes[2].xyxy.tolist() == [[1, 2, 3.5, 4]]
    assert found.boxes[2].labels.tolist() == [0]


def test_labels_match_in_full_then_before_the_comma_then_through_the_map(tmp_path) -> None:
    names = ["OX", "goldfish", "bullfrog, Rana", "golden orfe", "carp"]
    file = written(tmp_path / "b.csv", HEADER + "".join(f"a,{_q(n)},0,0,9,9\n" for n in names))
    table = written(tmp_path / "map.csv", "theirs,ours\ngolden orfe,goldfish\n")
    found = read_boxes(file, images(), label_map=table)
    assert found.boxes[0].labels.tolist() == [2, 0, 1, 0] and found.unknown == 1


def _q(name):
    return f'"{name}"'


def test_packs_without_names_are_matched_by_row(tmp_path) -> None:
    file = written(tmp_path / "b.csv", HEADER + "2,ox,0,0,9,9\n0001.png,ox,1,1,9,9\n")
    found = read_boxes(file, images(names=None))
    assert [b is not None for b in found.boxes] == [False, True, True]


def test_equal_stems_need_their_folder(tmp_path) -> None:
    twins = images(names=("ox/1.jpg", "cat/1.jpg", "cat/2.jpg"))
    found = read_boxes(written(tmp_path / "a.csv", HEADER + "data/cat/1.jpg,,0,0,9,9\n"), twins)
    assert found.boxes[1] is not None and found.boxes[0] is None
    with pytest.raises(DataError, match="fit 2 images, 'ox/1.jpg' and 'cat/1.jpg'"):
        read_boxes(written(tmp_path / "b.csv", HEADER + "1.jpg,,0,0,9,9\n"), twins)


def test_bad_boxes_are_clipped_dropped_and_counted(tmp_path) -> None:
    lines = ["-5,0,10,10", "9,0,9,10", "nan,0,5,5", "70,0,80,5", *["0,0,60.5,40"] * 5]
    file = written(tmp_path / "b.csv", HEADER + "".join(f"a.jpg,ox,{x}\n" for x in lines))
    found = read_boxes(file, images())
    assert (found.clipped, found.dropped, len(found.boxes[0])) == (1, 3, 6)
    assert found.boxes[0].xyxy[:2].tolist() == [[0, 0, 10, 10], [0, 0, 60, 40]]


BAD = {
    "more than half": (HEADER + "a,ox,9,0,5,5\na,ox,0,0,5,5\na,ox,80,0,90,5\n", "2 of 3 boxes"),
    "no image": (HEADER + "z.jpg,ox,0,0,5,5\n", "none of its 1 images is among the 3"),
    "no label": (HEADER + "a.jpg,zebra,0,0,5,5\n", r"the first is 'zebra' \(1 images matched\)"),
    "no column": ("image,label,xmin,ymin,xmax\n", "the column 'ymax' is missing"),
    "no number": (HEADER + "a.jpg,ox,0,0,five,5\n", "line 2 has no four corners"),
}


@pytest.mark.parametrize("text, message", BAD.values(), ids=BAD)
def test_a_bad_csv_is_refused_with_its_value(tmp_path, text, message) -> None:
    with pytest.raises(DataError, match=message):
        read_boxes(written(tmp_path / "b.csv", text), images())


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("b.json", "{", "not valid JSON at line 1"),
        ("b.json", '{"images": []}', "neither COCO JSON nor"),
        ("b.json", '[{"file": "a"}]', "neither COCO JSON nor"),
        ("b.xml", "<annotation>", "not a Pascal VOC file"),
        ("b.xml", "<annotation><object/></annotation>", "not a Pascal VOC file"),
        ("b.txt", "", r"not '\.txt'"),
    ],
)
def test_an_unreadable_box_file_is_refused(tmp_path, name, text, message) -> None:
    with pytest.raises(DataError, match=message):
        read_boxes(written(tmp_path / name, text), images())


def test_absent_and_empty_places_are_refused(tmp_path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_boxes(tmp_path / "none.csv", images())
    with pytest.raises(DataError, match="no .xml file"):
        read_boxes(tmp_path, images())


def test_boxes_drawn_on_another_size_are_refused(tmp_path) -> None:
    written(tmp_path / "a.xml", voc("a", (1, 1, 60, 40), size=(500, 375)))
    with pytest.raises(DataError, match="for 500x375 pixels, the image has 60x40"):
        read_boxes(tmp_path, images())


def test_a_bad_label_map_is_refused(tmp_path) -> None:
    file = written(tmp_path / "b.csv", HEADER + "a.jpg,ox,0,0,5,5\n")
    for text, word in (("a,b\nx,ox\n", "theirs,ours"), ("theirs,ours\nx,yak\n", "'yak' is no")):
        with pytest.raises(DataError, match=word):
            read_boxes(file, images(), label_map=written(tmp_path / "m.csv", text))


def test_resize_and_crop_move_boxes_and_drop_what_is_cut_off() -> None:
    view = centre_view((40, 60), short=20, crop=16)  # 20 x 30, then 2 above and 7 left
    boxes = Boxes(torch.tensor([[14.0, 4, 46, 36], [0, 0, 10, 40]]), torch.tensor([1, 2]))
    seen = boxes.seen(view)
    assert seen.xyxy.tolist() == [[0, 0, 16, 16]] and seen.labels.tolist() == [1]


@pytest.mark.parametrize("size", [(120, 160), (160, 120), (100, 100)])
def test_a_drawn_rectangle_is_found_where_its_box_says(tmp_path, size) -> None:  # a pixel: blur
    image = Image.new("RGB", size[::-1])
    ImageDraw.Draw(image).rectangle((50, 40, 79, 89), fill=(255, 255, 255))
    image.save(tmp_path / "a.png")
    boxes = (Boxes(torch.tensor([[50.0, 40, 80, 90]]), torch.tensor([0])),)
    found = ImageSet((tmp_path / "a.png",), torch.tensor([0]), ("box",), boxes=boxes)
    fetch = Fetch(found, mean=(0,) * 3, std=(1,) * 3, train=False, image_size=64)
    batch, _ = fetch(torch.tensor([0]), 0)
    rows, columns = np.nonzero(batch[0, 0].numpy() > 0.5)
    drawn = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    box = fetch.boxes(torch.tensor([0]))[0].xyxy[0].numpy()
    np.testing.assert_allclose(box, drawn, atol=1.0)


def test_a_box_file_follows_the_resize_of_reading(tmp_path) -> None:
    resized = ImageSet(
        torch.zeros(1, 3, 20, 20, dtype=torch.uint8),
        torch.tensor([0]),
        CLASSES,
        names=("a.jpg",),
        original=torch.tensor([[40, 60]]),
    )
    file = written(tmp_path / "b.csv", HEADER + "a.jpg,ox,10,0,50,40\n")
    assert read_boxes(file, resized).boxes[0].xyxy.tolist() == [[0, 0, 20, 20]]


def test_boxes_of_generated_and_file_sets_reach_the_batch() -> None:
    found = read("shapes(test=5,size=16)", splits=("test",)).test
    fetch = Fetch(found, mean=(0,) * 3, std=(1,) * 3, train=False)
    assert fetch.boxes(torch.tensor([3]))[0] is found.boxes[3]


@pytest.mark.data
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
def test_shared_photographs_match_their_boxes() -> None:
    root = SHARED / "coco256"
    content = json.loads((root / "boxes_train2017.json").read_text(encoding="utf-8"))
    names = sorted({o["category"] for r in content for o in r["objects"]})
    files = tuple(sorted((root / "train2017").glob("*.jpg")))
    photographs = ImageSet(
        files,
        torch.zeros(len(files), dtype=torch.int64),
        tuple(names),
        names=tuple(f.name for f in files),
    )
    found = read_boxes(root / "boxes_train2017.json", photographs)
    assert (found.matched, found.unmatched, found.dropped, found.unknown) == (26, 0, 0, 0)
    assert sum(len(b) for b in found.boxes) == 181
