"""Batches: the vectorised crop against slices, purity, files against torchvision."""

import importlib.util
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as tv

from qr_cli.attention.augment import Fetch, augment_for, normalization, resized_crop_window
from qr_cli.attention.data import ImageSet
from qr_cli.errors import DataError, UsageError

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
PLAIN = {"mean": (0, 0, 0), "std": (1 / 255,) * 3}  # batches in stored units


def reference(name):
    path = Path(__file__).parents[1] / "reference" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"reference_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def noise(n, height, width):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 3, height, width), generator=generator, dtype=torch.uint8)


def in_memory(n=40, height=12, width=12):
    return ImageSet(noise(n, height, width), torch.arange(n) % 4, tuple("abcd"))


@pytest.fixture
def files(tmp_path):
    paths = []
    for i, (height, width) in enumerate([(40, 60), (50, 50), (90, 30), (33, 47)]):
        pixels = noise(1, height, width)[0].permute(1, 2, 0).numpy()
        smooth = Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX)
        smooth.save(tmp_path / f"{i}.png")
        paths.append(tmp_path / f"{i}.png")
    return ImageSet(tuple(paths), torch.tensor([0, 1, 0, 1]), ("a", "b"))


@pytest.mark.parametrize("augment, pad, crop", [("crop-flip", 4, 12), ("crop-flip(crop=8)", 4, 8)])
def test_a_batch_equals_slices_at_the_same_offsets(augment, pad, crop) -> None:  # float32 rounding
    slow = reference("augment")
    images = in_memory()
    fetch = Fetch(images, augment=augment, mean=MEAN, std=STD, seed=3, train=True)
    indices = torch.tensor([5, 0, 39, 17])
    batch, labels = fetch(indices, 2)
    flip, top, left, _ = fetch.uniforms(indices, 2, 4).unbind(1)
    places = 12 + 2 * pad - crop + 1
    for k, i in enumerate(indices.tolist()):
        window = slow.crop_flip(
            images.images[i],
            top=int(top[k] * places),
            left=int(left[k] * places),
            flip=bool(flip[k] < 0.5),
            pad=pad,
            crop=crop,
        )
        expected = slow.normalized(window, MEAN, STD)
        torch.testing.assert_close(batch[k].double(), expected, rtol=0, atol=2e-6)
    assert labels.tolist() == [1, 0, 3, 1]


def test_padding_is_zero_before_normalisation() -> None:
    white = ImageSet(
        torch.full((64, 3, 8, 8), 255, dtype=torch.uint8), torch.zeros(64).long(), ("a",)
    )
    batch, _ = Fetch(white, augment="crop-flip", **PLAIN, train=True)(torch.arange(64), 0)
    assert set(batch.round().unique().tolist()) == {0.0, 255.0}


def test_offsets_and_flips_are_uniform() -> None:  # 4 s.d. of 40,000 draws
    images = ImageSet(
        torch.zeros(40_000, 3, 8, 8, dtype=torch.uint8), torch.zeros(40_000).long(), ("a",)
    )
    fetch = Fetch(images, augment="crop-flip", mean=MEAN, std=STD, train=True)
    flip, top, left, _ = fetch.uniforms(torch.arange(40_000), 0, 4).unbind(1)
    assert abs((flip < 0.5).double().mean() - 0.5) < 0.01
    for draw in (top, left):
        counts = torch.bincount((draw * 9).long(), minlength=9)
        assert (counts - 40_000 / 9).abs().max() < 4 * (40_000 / 9 * 8 / 9) ** 0.5


@pytest.mark.parametrize("augment", ["crop-flip", "flip", "imagenet", "none"])
def test_partition_and_order_of_batches_change_nothing(augment) -> None:
    fetch = Fetch(in_memory(), augment=augment, mean=MEAN, std=STD, seed=1, train=True)
    whole, _ = fetch(torch.arange(40), 7)
    other = pickle.loads(pickle.dumps(fetch))
    other(torch.arange(3), 1)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    parts = torch.cat([other(part, 7)[0] for part in order.tensor_split(7)])
    assert torch.equal(parts, whole[order])


def test_epochs_and_seeds_differ() -> None:
    images = in_memory()
    one, two = (Fetch(images, augment="crop-flip", **PLAIN, seed=s, train=True) for s in (0, 1))
    indices = torch.arange(40)
    assert not torch.equal(one(indices, 0)[0], one(indices, 1)[0])
    assert not torch.equal(one(indices, 0)[0], two(indices, 0)[0])


def test_rows_drawn_one_by_one_are_those_of_the_table(files) -> None:
    one_by_one = Fetch(files, augment="imagenet", mean=MEAN, std=STD, seed=9, train=True)
    images = ImageSet(noise(4, 8, 8), files.labels, files.classes)
    table = Fetch(images, augment="imagenet", mean=MEAN, std=STD, seed=9, train=True)
    indices = torch.tensor([3, 1, 2])
    assert torch.equal(one_by_one.uniforms(indices, 5, 24), table.uniforms(indices, 5, 24))


def test_evaluation_shows_images_as_they_are() -> None:  # float32 rounding
    images = in_memory(4, 12, 16)
    batch, _ = Fetch(images, augment="crop-flip", mean=MEAN, std=STD, train=False)(
        torch.arange(4), 0
    )
    expected = reference("augment").normalized(images.images[2], MEAN, STD)
    torch.testing.assert_close(batch[2].double(), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("channels_last", [False, True])
def test_memory_format_is_the_one_asked_for(channels_last) -> None:
    fetch = Fetch(
        in_memory(), augment="crop-flip", **PLAIN, train=True, channels_last=channels_last
    )
    batch, _ = fetch(torch.arange(8), 0)
    assert batch.is_contiguous(memory_format=torch.channels_last) == channels_last
    assert batch.dtype == torch.float32


def test_files_are_evaluated_as_torchvision_does(files) -> None:  # same Pillow calls: exact
    batch, _ = Fetch(files, **PLAIN, train=False, image_size=28)(torch.arange(4), 0)
    for i, path in enumerate(files.images):
        image = tv.center_crop(tv.resize(Image.open(path).convert("RGB"), [32]), [28])
        assert torch.equal(batch[i].round().to(torch.uint8), tv.pil_to_tensor(image))


def test_random_resized_crops_are_torchvisions_at_the_same_window(files) -> None:
    fetch = Fetch(files, augment="imagenet", **PLAIN, seed=4, train=True, image_size=24)
    batch, _ = fetch(torch.arange(4), 1)
    for i, path in enumerate(files.images):
        image = Image.open(path).convert("RGB")
        row = fetch.uniforms(torch.tensor([i]), 1, 24)[0].numpy()
        window = resized_crop_window(image.height, image.width, row)
        expected = tv.resized_crop(image, *window, [24, 24])
        expected = tv.horizontal_flip(expected) if row[0] < 0.5 else expected
        assert torch.equal(batch[i].round().to(torch.uint8), tv.pil_to_tensor(expected))


def test_random_windows_have_torchvisions_distribution() -> None:  # two samples of 4,000: 5 s.e.
    from torchvision.transforms import RandomResizedCrop

    table = np.random.default_rng(0).random((4000, 24))
    ours = np.array([resized_crop_window(60, 100, row) for row in table], float)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        blank = torch.zeros(3, 60, 100)
        draw = RandomResizedCrop.get_params
        theirs = np.array([draw(blank, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(4000)], float)
    error = np.sqrt((ours.var(0) + theirs.var(0)) / 4000)
    assert (np.abs(ours.mean(0) - theirs.mean(0)) < 5 * error).all()
    np.testing.assert_allclose(ours.std(0), theirs.std(0), rtol=0.06)


def test_a_window_that_never_fits_is_the_centre() -> None:
    row = np.full(24, 0.999)
    assert resized_crop_window(10, 1000, row) == (0, 493, 10, 13)


def test_files_can_be_cropped_and_flipped_like_images_in_memory(files) -> None:
    fetch = Fetch(files, augment="crop-flip(pad=2)", **PLAIN, train=True, image_size=16)
    assert fetch(torch.tensor([2, 0]), 0)[0].shape == (2, 3, 16, 16)


def test_a_crop_larger_than_the_image_names_both_sizes() -> None:
    with pytest.raises(DataError, match="12x12 pixels are smaller than the crop 32x32"):
        Fetch(in_memory(), augment="crop-flip(crop=32)", **PLAIN, train=True)


@pytest.mark.parametrize(
    "text", ["crop-flp", "flip(pad=3)", "crop-flip(pad=-1)", "crop-flip(pad=x)"]
)
def test_augmentations_that_cannot_be_meant_are_refused(text) -> None:
    with pytest.raises(UsageError, match=text.partition("(")[0]):
        Fetch(in_memory(), augment=text, **PLAIN, train=True)


@pytest.mark.parametrize(
    "source, augment, normal",
    [
        ("shapes(context=0)", "crop-flip", (0.5, 0.165)),
        ("cifar10", "crop-flip", (0.4914, 0.2023)),
        ("cifar100", "crop-flip", (0.4914, 0.2023)),
        ("stl10", "crop-flip(crop=32,pad=4)", (0.4914, 0.2023)),
        ("stl10(protocol=full96)", "crop-flip(pad=12)", (0.4914, 0.2023)),
        ("imagenet:/nowhere", "imagenet", (0.485, 0.229)),
    ],
)
def test_auto_is_what_the_source_says(source, augment, normal) -> None:
    mean, std = normalization(source, None)
    assert (augment_for(source), (mean[0], std[0])) == (augment, normal)


def test_figures_of_the_data_are_those_of_all_pixels(files) -> None:  # float32 sums
    images = in_memory(1100, 8, 8)
    mean, std = normalization("npz:any.npz", images)
    pixels = images.images.double() / 255
    np.testing.assert_allclose(mean, pixels.mean((0, 2, 3)), atol=1e-5)
    np.testing.assert_allclose(std, pixels.std((0, 2, 3), correction=0), atol=1e-5)
    assert len(normalization("folder:x", files, "data")[0]) == 3
    with pytest.raises(ValueError, match="training images"):
        normalization("npz:any.npz", None)
    assert normalization("npz:any.npz", None, "half") == ((0.5,) * 3, (0.5,) * 3)


def test_a_file_that_breaks_later_is_named(files) -> None:
    files.images[1].write_bytes(files.images[1].read_bytes()[:200])
    with pytest.raises(DataError, match="1.png does not decode"):
        Fetch(files, **PLAIN, train=False, image_size=16)(torch.tensor([1]), 0)
