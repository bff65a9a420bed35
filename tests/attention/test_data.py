"""Reading: every source, every row of bad input, validation shares, what is decoded and when."""

import io
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from qr_cli.attention import data as reading
from qr_cli.attention.data import ImageSet, peek, read, stratified_order
from qr_cli.attention.names import SOURCES
from qr_cli.errors import DataError, EnvironmentFault, QrError, UsageError

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")


def picture(seed, height=16, width=16, mode="RGB"):
    shade = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    image = Image.fromarray(shade).resize((width, height), Image.Resampling.BILINEAR)
    return image.convert(mode)


def jpeg(image):
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=90)
    return stream.getvalue()


def jpeg_pack(path, images, y, **more):
    pieces = [i if isinstance(i, bytes) else jpeg(i) for i in images]
    given = {
        "data": np.frombuffer(b"".join(pieces), np.uint8),
        "offset": np.cumsum([0, *map(len, pieces)]),
        "y": None if y is None else np.asarray(y),
        **more,
    }
    np.savez(path, **{k: v for k, v in given.items() if v is not None})
    return path


def array_pack(path, n=12, side=16, classes=3, **more):
    x = np.random.default_rng(0).integers(0, 256, (n, side, side, 3), np.uint8)
    np.savez(path, **{"data": x, "y": np.arange(n) % classes, **more})
    return path


def folder(root, classes=("ant", "bee"), n=3, size=(16, 16)):
    for c, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(n):
            picture(10 * c + i, *size).save(root / name / f"{name}{i}.png")
    return root


# packs


def test_a_jpeg_pack_is_decoded_to_rgb(tmp_path) -> None:
    images = [picture(0), picture(1, mode="L"), picture(2)]
    jpeg_pack(tmp_path / "p.npz", images, [0, 1, 0], classes=["a", "b"], name=["x.jpg"] * 3)
    found = read(f"npz:{tmp_path}/p.npz", splits=("test",)).test
    expected = np.asarray(Image.open(io.BytesIO(jpeg(images[1]))).convert("RGB"))
    assert found.images.dtype == torch.uint8
    assert torch.equal(found.images[1], torch.from_numpy(expected.copy()).permute(2, 0, 1))
    assert found.classes == ("a", "b") and found.labels.tolist() == [0, 1, 0]
    assert found.names == ("x.jpg",) * 3 and found.boxes is None and found.note is None


def test_inclusive_corners_become_half_open(tmp_path) -> None:
    jpeg_pack(tmp_path / "p.npz", [picture(0)], [0], box=np.array([[2, 3, 7, 15]], np.int16))
    box = read(str(tmp_path / "p.npz"), splits=("test",)).test.boxes[0]
    assert box.xyxy.tolist() == [[2, 3, 8, 16]] and box.labels.tolist() == [0]


def test_arrays_and_four_key_packs_are_read(tmp_path) -> None:
    array_pack(tmp_path / "train.npz")
    with np.load(tmp_path / "train.npz") as z:
        x, y = z["data"], z["y"]
    np.savez(tmp_path / "four.npz", x_train=x, y_train=y, x_test=x[:4], y_test=y[:4])
    four = read(f"npz:{tmp_path}/four.npz")
    assert len(four.train) == 12 and len(four.test) == 4
    assert torch.equal(four.train.images, torch.from_numpy(x).permute(0, 3, 1, 2))
    assert four.train.classes == ("0", "1", "2")


def test_a_folder_of_packs_is_recognised_and_named(tmp_path, caplog) -> None:
    array_pack(tmp_path / "train_a.npz")
    array_pack(tmp_path / "test_b.npz", n=6)
    with caplog.at_level("INFO", "qr_cli"):
        found = read(str(tmp_path))
    assert (len(found.train), len(found.test)) == (12, 6)
    assert found.source == f"npz:{tmp_path}" and "is read as npz:" in caplog.text


def test_images_are_resized_on_request_and_boxes_with_them(tmp_path) -> None:
    images = [picture(0, 16, 32), picture(1, 24, 24)]
    box = np.array([[8, 0, 23, 15], [0, 0, 11, 11]])
    jpeg_pack(tmp_path / "p.npz", images, [0, 0], box=box)
    found = read(str(tmp_path / "p.npz"), splits=("test",), image_size=8).test
    assert found.images.shape == (2, 3, 8, 8)
    assert found.original.tolist() == [[16, 32], [24, 24]]
    assert [b.xyxy[0].tolist() for b in found.boxes] == [[0, 0, 8, 8], [0, 0, 4, 4]]


def test_jpeg_copies_of_cifar10_carry_a_note(tmp_path) -> None:
    names = sorted("airplane automobile bird cat deer dog frog horse ship truck".split())
    jpeg_pack(tmp_path / "p.npz", [picture(0)], [3], classes=names)
    assert "not comparable" in read(str(tmp_path / "p.npz"), splits=("test",)).test.note


def test_peek_reads_no_image(tmp_path, monkeypatch) -> None:
    jpeg_pack(tmp_path / "p.npz", [picture(0), b"broken"], [0, 1], classes=["a", "b"])
    found = peek(f"npz:{tmp_path}/p.npz", val=0.5)
    assert (found.train, found.test, found.classes, found.size) == (1, 1, ("a", "b"), (16, 16))


BAD_PACKS = {
    "missing y": (dict(y=None), "the key 'y' is missing"),
    "missing offset": (dict(offset=None), "the key 'offset' is missing"),
    "missing data": (dict(data=None), "the key 'data' is missing"),
    "offsets fall": (dict(offset=np.array([0, 50, 40, 90])), "does not increase at index 2"),
    "offset beyond": (dict(offset=np.array([0, 9, 10, 10**6])), "at index 3 is 1000000, of"),
    "offset below": (dict(offset=np.array([-1, 9, 10, 11])), "at index 0 is -1"),
    "offset floats": (dict(offset=np.array([0.0, 1, 2, 3])), "whole numbers, got float64"),
    "y beyond": (dict(y=[0, 2, 1], classes=["a", "b"]), "y at index 1 is 2, outside the 2"),
    "y negative": (dict(y=[0, 1, -1]), "y at index 2 is -1"),
    "y length": (dict(y=[0, 1]), "'y' has 2 entries for 3 images"),
    "y floats": (dict(y=[0.0, 1.0, 1.0]), "'y' should hold whole numbers"),
    "y pickle": (dict(y=np.array([0, 1, None])), "'y' is an object array"),
    "data pickle": (dict(data=np.array([None, "a"])), "'data' is an object array"),
    "classes pickle": (dict(classes=np.array(["a", None])), "'classes' is an object array"),
    "data floats": (dict(data=np.zeros((3, 16, 16, 3))), "'data' should be uint8, got float64"),
    "data shape": (dict(data=np.zeros((3, 16, 16), np.uint8)), r"got shape \(3, 16, 16\)"),
    "data small": (dict(data=np.zeros((3, 4, 9, 3), np.uint8)), "4x9 pixels are smaller than 8x8"),
    "name length": (dict(name=["a"]), "'name' has 1 entries for 3 rows"),
    "box shape": (dict(box=np.zeros((3, 3), int)), r"'box' should be whole numbers \(n, 4\)"),
}


@pytest.mark.parametrize("more, message", BAD_PACKS.values(), ids=BAD_PACKS)
def test_a_bad_pack_is_refused_with_key_and_index(tmp_path, more, message) -> None:
    path = tmp_path / "p.npz"
    given = {"y": [0, 1, 1], **more}
    jpeg_pack(path, [picture(i) for i in range(3)], given.pop("y"), **given)
    with pytest.raises(DataError, match=message):
        read(f"npz:{path}", splits=("test",))


@pytest.mark.parametrize("content", [b"no zip at all", None], ids=["text", "truncated"])
def test_a_damaged_file_is_refused(tmp_path, content) -> None:
    path = array_pack(tmp_path / "p.npz")
    path.write_bytes(content or path.read_bytes()[:3000])
    with pytest.raises(DataError, match="not a whole npz file"):
        read(f"npz:{path}", splits=("test",))


def test_flipped_bytes_inside_an_array_are_found(tmp_path) -> None:
    path = array_pack(tmp_path / "p.npz")
    content = bytearray(path.read_bytes())
    content[2000] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="not a whole npz file"):
        read(f"npz:{path}", splits=("test",))


def test_a_shortened_array_member_is_found_by_peek(tmp_path) -> None:
    path = tmp_path / "p.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.npy", b"\x93NUM")
        archive.writestr("y.npy", b"")
    with pytest.raises(DataError, match="not a whole npz file"):
        peek(f"npz:{path}", splits=("test",))


@pytest.mark.parametrize("broken", [b"not a jpeg", jpeg(picture(1, 64, 64))[:700]])
def test_an_image_that_does_not_decode_is_named_before_training(tmp_path, broken) -> None:
    jpeg_pack(tmp_path / "p.npz", [picture(0, 64, 64), broken], [0, 0])
    with pytest.raises(DataError, match="image 1 does not decode"):
        read(f"npz:{tmp_path}/p.npz", splits=("test",))


def test_mixed_sizes_ask_for_an_image_size(tmp_path) -> None:
    jpeg_pack(tmp_path / "p.npz", [picture(0), picture(1, 20, 16)], [0, 0])
    with pytest.raises(DataError, match="image 1 has 20x16 pixels") as caught:
        read(f"npz:{tmp_path}/p.npz", splits=("test",))
    assert caught.value.hint == "--image-size 16"


def test_lists_of_classes_must_be_equal(tmp_path) -> None:
    array_pack(tmp_path / "train.npz", classes=3)
    for split, names in (("train", ["a", "b", "c"]), ("test", ["a", "c", "b"])):
        array_pack(tmp_path / f"{split}.npz", **{"words": np.array(names)})
    with pytest.raises(DataError, match="class 1 is 'b' and 'c'"):
        read(f"npz:{tmp_path}")
    with pytest.raises(DataError, match="class 1 is 'b' and 'c'"):
        read(f"npz:{tmp_path}/train.npz", test_data=f"npz:{tmp_path}/test.npz")


def test_numbered_test_labels_must_fit(tmp_path) -> None:
    one, two = array_pack(tmp_path / "a.npz", classes=2), array_pack(tmp_path / "b.npz", classes=5)
    with pytest.raises(DataError, match="y reaches 4, training has 2 classes"):
        read(f"npz:{one}", test_data=f"npz:{two}")


def test_the_memory_limit_is_kept(tmp_path) -> None:
    array_pack(tmp_path / "p.npz")
    with pytest.raises(EnvironmentFault, match="12 decoded images need"):
        read(f"npz:{tmp_path}/p.npz", splits=("test",), memory_limit=1000)


@pytest.mark.parametrize(
    "source, message",
    [
        ("npz:missing.npz", "missing.npz: no such file or folder"),
        ("some/where", "some/where: no such file or folder"),
        ("folder:missing", "missing: no such folder"),
        ("imagenet:missing", "missing: no such folder"),
        ("cifar10", "cifar10 is not in"),
        ("stl10", "stl10 is not in"),
    ],
)
def test_absent_data_are_named_with_a_hint(tmp_path, source, message) -> None:
    for use in (read, peek):
        with pytest.raises(DataError, match=message) as caught:
            use(source, root=tmp_path)
        assert caught.value.hint and caught.value.exit_code == 3


def test_folders_without_both_packs_list_what_is_there(tmp_path) -> None:
    array_pack(tmp_path / "tin_train.npz")
    with pytest.raises(DataError, match=r"one train\*.npz is needed, there are 0 .*tin_train"):
        read(str(tmp_path))


# folders


def test_small_folders_of_one_size_are_read_into_memory(tmp_path) -> None:
    folder(tmp_path / "train"), folder(tmp_path / "val", n=2)
    found = read(f"folder:{tmp_path}")
    assert found.train.images.shape == (6, 3, 16, 16)
    assert found.test.names == ("ant/ant0.png", "ant/ant1.png", "bee/bee0.png", "bee/bee1.png")
    expected = torch.from_numpy(np.asarray(picture(11)).copy()).permute(2, 0, 1)
    assert torch.equal(found.train.images[4], expected)


def test_mixed_or_large_folders_stay_files(tmp_path) -> None:
    folder(tmp_path / "train")
    folder(tmp_path / "test", size=(16, 20))
    found = read(f"folder:{tmp_path}", memory_limit=2000)
    assert isinstance(found.train.images, tuple) and isinstance(found.test.images, tuple)
    assert found.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert len(found.train.sha256()) == 64


def test_a_test_folder_may_lack_classes_and_is_numbered_by_name(tmp_path) -> None:
    folder(tmp_path / "all", classes=("ant", "bee", "cow"))
    folder(tmp_path / "some", classes=("cow",))
    found = read(f"folder:{tmp_path}/all", test_data=f"folder:{tmp_path}/some")
    assert found.test.labels.tolist() == [2, 2, 2] and found.test.classes == ("ant", "bee", "cow")


@pytest.mark.parametrize("inside", [True, False])
def test_a_class_that_training_lacks_is_named(tmp_path, inside) -> None:
    folder(tmp_path / "train")
    other = folder(tmp_path / ("test" if inside else "other"), classes=("ant", "elk"))
    with pytest.raises(DataError, match="'elk'"):
        read(f"folder:{tmp_path}", test_data=None if inside else f"folder:{other}")


def test_folders_without_class_folders_are_refused(tmp_path) -> None:
    picture(0).save(tmp_path / "lonely.png")
    with pytest.raises(DataError, match="no class folders here"):
        read(f"folder:{tmp_path}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="hold no images"):
        read(f"folder:{tmp_path}")


@pytest.mark.parametrize("size", [(16, 16), (16, 20)], ids=["memory", "files"])
def test_a_broken_file_stops_the_run_or_is_left_out(tmp_path, size, caplog) -> None:
    folder(tmp_path / "train"), folder(tmp_path / "test")
    picture(0, *size).save(tmp_path / "train" / "ant" / "ant1.png")
    broken = tmp_path / "train" / "bee" / "bee1.png"
    broken.write_bytes(broken.read_bytes()[:60])
    with pytest.raises(DataError, match=r"bee1.png does not decode") as caught:
        read(f"folder:{tmp_path}")
    assert "--skip-bad" in caught.value.hint
    found = read(f"folder:{tmp_path}", skip_bad=True)
    assert len(found.train) == 5 and "left out" in caplog.text
    assert isinstance(found.train.images, tuple) == (size != (16, 16))


def test_one_piece_data_need_a_test_part(tmp_path) -> None:
    folder(tmp_path, n=10)
    with pytest.raises(DataError, match="has no test part") as caught:
        read(f"folder:{tmp_path}")
    assert "--val" in caught.value.hint
    shared = read(f"folder:{tmp_path}", val=0.2)
    assert shared.test is shared.val and (len(shared.train), len(shared.val)) == (16, 4)
    assert len(read(f"folder:{tmp_path}", splits=("test",)).test) == 20


# splits


def test_validation_share_is_stratified_disjoint_and_by_seed() -> None:
    found = read("shapes(train=200,test=10,size=8)", val=0.1)
    assert torch.bincount(found.val.labels).tolist() == [2] * 10
    assert torch.bincount(found.train.labels).tolist() == [18] * 10
    ours = {bytes(i.numpy().data) for i in found.train.images}
    assert len(ours) == 180
    assert not ours & {bytes(i.contiguous().numpy().data) for i in found.val.images}
    again = read("shapes(train=200,test=10,size=8)", val=0.1)
    other = read("shapes(train=200,test=10,size=8)", val=0.1, seed=1)
    assert torch.equal(again.val.images, found.val.images)
    assert not torch.equal(other.val.images, found.val.images)


def test_limited_training_sets_are_nested_stratified_and_apart_from_validation() -> None:
    few, more = (read("shapes(train=200,test=1,size=8)", limit_train=n, val=0.1) for n in (20, 50))
    assert torch.bincount(few.train.labels).tolist() == [2] * 10
    assert torch.bincount(more.train.labels).tolist() == [5] * 10
    small, large, held = (
        {bytes(i.contiguous().numpy().data) for i in s.images}
        for s in (few.train, more.train, few.val)
    )
    assert small < large and not large & held


def test_every_beginning_of_the_order_has_the_classes_in_proportion() -> None:
    labels = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    order = stratified_order(labels, 3)
    assert sorted(order.tolist()) == list(range(100))
    for n in (10, 20, 50, 73):
        counts = torch.bincount(labels[order[:n]], minlength=3)
        assert (counts - n * torch.tensor([0.6, 0.3, 0.1])).abs().max() <= 1


def test_only_the_rows_asked_for_are_decoded(tmp_path, monkeypatch) -> None:
    images = [picture(i) for i in range(9)] + [b"broken"] * 3
    jpeg_pack(tmp_path / "train.npz", images, [0] * 12)
    jpeg_pack(tmp_path / "test.npz", [picture(1)], [0])
    assert len(read(str(tmp_path), splits=("test",)).test) == 1
    with pytest.raises(DataError, match="does not decode"):
        read(str(tmp_path))


def test_validation_may_be_a_source_of_its_own(tmp_path) -> None:
    one, two = array_pack(tmp_path / "a.npz"), array_pack(tmp_path / "b.npz", n=6)
    found = read(f"npz:{one}", val=f"npz:{two}")
    assert (len(found.train), len(found.val), found.test is found.val) == (12, 6, True)


@pytest.mark.parametrize("val", [1.5, 0.0, "2"])
def test_a_share_outside_its_range_is_refused(val) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        read("shapes(train=20,test=10)", val=val)


def test_a_share_that_leaves_a_side_empty_is_refused() -> None:
    with pytest.raises(DataError, match="leaves one side empty"):
        peek("shapes(train=3,test=10)", val=0.1)


def test_unknown_sources_are_answered_with_a_near_one() -> None:
    with pytest.raises(UsageError, match="did you mean 'shapes'"):
        peek("shape")


def test_hash_depends_on_images_and_labels() -> None:
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    one = ImageSet(images, torch.tensor([0, 1]), ("a", "b")).sha256()
    assert one == ImageSet(images.clone(), torch.tensor([0, 1]), ("c", "d")).sha256()
    assert one != ImageSet(images, torch.tensor([1, 1]), ("a", "b")).sha256()
    assert one != ImageSet(images + 1, torch.tensor([0, 1]), ("a", "b")).sha256()


# downloads


class FakeCIFAR:
    base_folder = "cifar-10-batches-py"
    error: Exception | None = None

    def __init__(self, root, *, train, download):
        if self.error:
            raise self.error
        n = 50 if train else 20
        self.data = np.random.default_rng(0).integers(0, 256, (n, 32, 32, 3), np.uint8)
        self.targets = [i % 10 for i in range(n)]


class FakeSTL:
    base_folder = "stl10_binary"

    def __init__(self, root, *, split, download):
        self.data = np.zeros((4, 3, 96, 96), np.uint8)  # channels first, unlike CIFAR
        self.data[:, 2, 5, 7] = 200
        self.labels = np.array([0, 1, 2, 9], np.uint8)


@pytest.fixture
def fake(monkeypatch):
    table = SimpleNamespace(CIFAR10=FakeCIFAR, STL10=FakeSTL)
    monkeypatch.setattr("qr_cli.attention.downloads.datasets", table)
    monkeypatch.setattr(FakeCIFAR, "error", None)
    return FakeCIFAR


def test_fetched_sets_are_read_through_torchvision(tmp_path, fake) -> None:
    found = read("cifar10", root=tmp_path, download=True)
    assert found.train.images.shape == (50, 3, 32, 32) and found.test.labels[13] == 3
    assert found.test.classes[3] == "cat" and found.test.note is None
    larger = read("cifar10", root=tmp_path, download=True, splits=("test",), image_size=48)
    assert larger.test.images.shape == (20, 3, 48, 48)


def test_stl10_keeps_its_channels_and_labels(tmp_path, fake) -> None:
    found = read("stl10(protocol=full96)", root=tmp_path, download=True)
    assert found.source == "stl10(protocol=full96)"
    assert found.train.images[0, :, 5, 7].tolist() == [0, 0, 200]
    assert found.train.labels.tolist() == [0, 1, 2, 9]


def test_a_failed_download_is_a_fault_of_the_environment(tmp_path, fake, monkeypatch) -> None:
    for error in (OSError("no route to host"), RuntimeError("File not found or corrupted.")):
        monkeypatch.setattr(fake, "error", error)
        with pytest.raises(EnvironmentFault, match="could not be fetched") as caught:
            read("cifar10", root=tmp_path, download=True)
        assert caught.value.exit_code == 5


def test_damaged_sets_ask_for_a_download(tmp_path, fake, monkeypatch) -> None:
    (tmp_path / fake.base_folder).mkdir()
    monkeypatch.setattr(fake, "error", RuntimeError("Dataset not found or corrupted."))
    with pytest.raises(DataError, match="is not whole") as caught:
        read("cifar10", root=tmp_path)
    assert "--download" in caught.value.hint


def test_peek_downloads_nothing(tmp_path, fake, monkeypatch) -> None:
    monkeypatch.setattr(fake, "error", AssertionError("opened"))
    found = peek("cifar10", root=tmp_path, download=True, val=0.1)
    assert (found.train, found.test, found.size) == (45_000, 10_000, (32, 32))


def test_options_of_downloads_are_checked(tmp_path) -> None:
    with pytest.raises(UsageError, match="should be one of repo, full96"):
        peek("stl10(protocol=half)", root=tmp_path, download=True)
    with pytest.raises(UsageError, match="did you mean 'protocol'"):
        peek("stl10(protocl=repo)", root=tmp_path, download=True)
    assert peek("cifar100", root=tmp_path, download=True).classes[99] == "worm"


def test_the_data_root_follows_the_environment(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("QR_DATA", str(tmp_path))
    assert reading.data_root() == tmp_path
    monkeypatch.delenv("QR_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert reading.data_root() == tmp_path / "qr" / "data"


@pytest.mark.parametrize("name", list(SOURCES))
def test_every_source_states_its_facts(name) -> None:
    kind = SOURCES.load(name)
    assert kind.augment in ("crop-flip", "imagenet")
    assert kind.normalize in ("cifar", "imagenet", "shapes", "data")
    with pytest.raises(QrError):
        kind(None, {"no": 1}, reading.Settings(Path("/nowhere")))


@pytest.mark.data
@needs_data
def test_shared_packs_are_read() -> None:
    root = SHARED / "cifar10"
    found = read(f"npz:{root}/small_train_jpeg.npz", test_data=f"npz:{root}/small_test_jpeg.npz")
    assert found.train.images.shape == (5000, 3, 32, 32) and "JPEG copy" in found.test.note
    seen = peek(str(root))
    assert (seen.train, seen.test, seen.size) == (50_000, 5_000, (32, 32))
    tin = read(f"npz:{SHARED}/tinyimagenet/tin20_val.npz", splits=("test",)).test
    sides = torch.cat([b.xyxy[:, 2:] - b.xyxy[:, :2] - 1 for b in tin.boxes])
    assert tin.images.shape == (1000, 3, 64, 64)
    assert abs(sides.prod(1).median().item() / 4096 - 0.56) < 0.005  # recorded of corners as stored
