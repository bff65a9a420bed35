"""The generated data set: recorded values, the definition pixel by pixel, and its statistics."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from qr_cli.attention.data import peek, read
from qr_cli.attention.shapes import shapes
from qr_cli.errors import DataError, UsageError


def reference(name):
    path = Path(__file__).parents[1] / "reference" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"reference_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def corners(found):
    return [b.xyxy[0].int().tolist() for b in found.boxes]


@pytest.fixture(scope="module")
def train():
    return shapes(2000)


@pytest.fixture(scope="module")
def test():
    return shapes(2000, split="test")


def test_first_boxes_are_the_recorded_ones(train, test) -> None:
    assert corners(train)[:6] == [
        [15, 12, 30, 28],
        [15, 3, 28, 15],
        [1, 13, 16, 28],
        [5, 12, 16, 21],
        [13, 12, 25, 23],
        [4, 17, 17, 30],
    ]
    assert corners(test)[:6] == [
        [12, 4, 26, 18],
        [8, 16, 21, 29],
        [3, 9, 18, 24],
        [18, 19, 28, 29],
        [16, 15, 29, 28],
        [5, 6, 15, 17],
    ]


def test_first_textures_are_the_recorded_ones(train, test) -> None:
    assert train.textures[:10].tolist() == [0, 8, 2, 3, 4, 5, 9, 6, 1, 9]
    assert test.textures[:10].tolist() == [7, 3, 5, 7, 1, 1, 9, 8, 7, 4]


def test_a_pixel_is_the_recorded_one(train, test) -> None:  # one step: order of sums
    for found, pixel in ((train, [194, 33, 161]), (test, [124, 210, 129])):
        difference = found.images[0, :, 16, 16].int() - torch.tensor(pixel)
        assert difference.abs().max() <= 1


def test_area_mean_and_deviation_are_the_recorded_ones(train) -> None:  # two digits recorded
    area = torch.tensor([(x1 - x0) * (y1 - y0) / 1024 for x0, y0, x1, y1 in corners(train)])
    np.testing.assert_allclose(
        torch.quantile(area, torch.tensor([0.1, 0.5, 0.9])), [0.086, 0.152, 0.25], atol=0.006
    )
    pixels = train.images.double() / 255
    assert abs(pixels.mean().item() - 0.50) < 0.01
    assert abs(pixels.std().item() - 0.17) < 0.01


@pytest.mark.parametrize("size", [16, 32])
def test_images_are_those_of_the_definition(size) -> None:  # one step: order of sums
    slow = reference("shapes")
    fast = shapes(20, size=size, context=0.3, seed=5)
    for i in range(20):
        pixels, coverage, k = slow.image(i, split=0, context=0.3, size=size, seed=5)
        ours = fast.images[i].permute(1, 2, 0).numpy()
        assert np.abs(ours.astype(int) - pixels).max() <= 1
        assert (ours != pixels).mean() < 0.001
        assert k == fast.textures[i]
        rows, columns = np.nonzero(coverage >= 2)
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert fast.boxes[i].xyxy[0].tolist() == box


def test_a_shorter_set_is_the_beginning_of_a_longer_one(train) -> None:
    short = shapes(37)
    assert torch.equal(short.images, train.images[:37])
    assert torch.equal(short.textures, train.textures[:37])
    assert corners(short) == corners(train)[:37]


def test_chosen_rows_are_those_of_the_whole_set(train) -> None:
    chosen = shapes(2000, rows=[3, 500, 1999])
    assert torch.equal(chosen.images, train.images[[3, 500, 1999]])
    assert chosen.labels.tolist() == [3, 0, 9]


def test_another_seed_or_split_gives_other_images(train) -> None:
    assert not torch.equal(shapes(10, seed=1).images, train.images[:10])
    assert not torch.equal(shapes(10, split="test_context").images, train.images[:10])


def test_test_textures_do_not_depend_on_the_class() -> None:
    # Pearson's statistic summed over ten seeds, 10 x 90 degrees of freedom, p = 0.001. Seeds are
    # pooled because one may be unlucky: seed 0 alone reaches 138 of 90 over 10,000 images.
    total = 0.0
    for seed in range(10):
        key = np.array([seed, 1], np.uint64)
        u = np.random.Generator(np.random.Philox(key=key)).random((2000, 64))
        table = np.zeros((10, 10))
        np.add.at(table, (np.arange(2000) % 10, (10 * u[:, 1]).astype(int)), 1)
        total += ((table - 20) ** 2 / 20).sum()
    assert total < 1035


def test_textures_of_drawn_test_images_follow_the_stream(test) -> None:
    u = np.random.Generator(np.random.Philox(key=np.array([0, 1], np.uint64))).random((2000, 64))
    assert test.textures.tolist() == (10 * u[:, 1]).astype(int).tolist()


def test_share_of_betraying_textures_is_context_and_chance(train) -> None:  # 3 s.d. of 2,000
    share = (train.textures == train.labels).double().mean().item()
    assert abs(share - 0.64) < 0.033


@pytest.mark.slow
def test_share_of_betraying_textures_over_ten_thousand() -> None:
    found = shapes(10_000)
    assert abs((found.textures == found.labels).double().mean().item() - 0.64) <= 0.02


def test_source_reads_its_options_and_names_itself_canonically() -> None:
    found = read("shapes(train=30, test=20, context=.6, size=16)", splits=("train", "test"))
    assert found.source == "shapes(size=16,test=20,train=30)"
    assert found.train is not None and found.train.images.shape == (30, 3, 16, 16)
    assert len(found.test) == 20 and found.test_context is None


def test_test_context_is_generated_on_request_with_the_context_of_training() -> None:
    text = "shapes(train=10,test=200,size=8,context=1)"
    found = read(text, splits=("test", "test_context"))
    assert found.train is None
    assert torch.equal(found.test_context.textures, found.test_context.labels)
    assert not torch.equal(found.test.textures, found.test.labels)


def test_peek_draws_nothing(monkeypatch) -> None:
    monkeypatch.setattr("qr_cli.attention.shapes._draw", None)
    found = peek("shapes(size=24)")
    assert (found.train, found.test, found.size, len(found.classes)) == (
        10_000,
        2_000,
        (24, 24),
        10,
    )


@pytest.mark.parametrize(
    "text, word",
    [
        ("shapes(contxt=1)", "did you mean 'context'"),
        ("shapes(context=1.5)", "1.5"),
        ("shapes(train=2.5)", "whole number"),
        ("shapes(seed=true)", "True"),
        ("shapes:x", "no path"),
    ],
)
def test_options_that_cannot_be_meant_are_named(text, word) -> None:
    with pytest.raises(UsageError, match=word):
        peek(text)


def test_images_below_eight_pixels_are_refused() -> None:
    with pytest.raises(DataError, match="4 pixels"):
        peek("shapes(size=4)")
