"""The loader: which samples meet in one update, on whichever rank, after whichever resume."""

import pytest
import torch

from qr_cli.engine.loader import Loader, in_order

SIZE = 53  # no multiple of any batch size below


def fetch(indices, epoch):
    return indices


def loader(**options):
    return Loader(fetch, SIZE, **({"batch_size": 8} | options))


def updates(batches, epoch=0, **options):
    """Return the samples of each update, as lists."""
    found = [[]]
    for chunk in batches.epoch(epoch, **options):
        found[-1] += chunk.batch.tolist()
        if chunk.last:
            found.append([])
    return found[:-1]


def test_the_order_depends_on_seed_and_epoch_alone():
    torch.manual_seed(1)
    first = updates(loader(seed=3), epoch=2)
    torch.manual_seed(2)
    assert updates(loader(seed=3), epoch=2) == first
    assert updates(loader(seed=3), epoch=1) != first
    assert updates(loader(seed=4), epoch=2) != first


@pytest.mark.parametrize("workers", [0, 1])
def test_drawing_batches_leaves_the_global_random_state_alone(workers):
    before = torch.get_rng_state()
    list(loader(workers=workers).epoch(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_every_sample_comes_once_per_epoch():
    samples = sum(updates(loader()), [])
    assert sorted(samples) == list(range(SIZE))


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_ranks_share_every_update_without_overlap(world, accumulate):
    ranks = [
        updates(loader(world=world, rank=rank, accumulate=accumulate)) for rank in range(world)
    ]
    for whole, *shares in zip(updates(loader(accumulate=accumulate)), *ranks, strict=True):
        assert sorted(sum(shares, [])) == sorted(whole)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_skipping_updates_leaves_exactly_the_rest(accumulate):
    batches = loader(accumulate=accumulate)
    whole = updates(batches)
    for skip in range(len(whole) + 1):
        assert updates(batches, skip=skip) == whole[skip:]


def test_accumulating_draws_the_same_updates_as_one_large_batch():
    assert updates(loader(batch_size=2, accumulate=4)) == updates(loader(batch_size=8))


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_the_weights_of_an_update_make_the_mean_over_its_samples(world, accumulate):
    totals = [0.0] * len(loader(accumulate=accumulate, world=world))
    for rank in range(world):
        number = 0
        for chunk in loader(accumulate=accumulate, world=world, rank=rank).epoch(0):
            assert len(chunk.batch) == chunk.samples
            totals[number] += chunk.weight / world  # gradients are averaged over ranks
            number += chunk.last
    assert totals == pytest.approx([1.0] * len(totals), abs=1e-12)  # float64 sums of fractions


def test_a_large_rank_share_weighs_as_many_samples_as_it_has():
    shares = [next(iter(loader(world=3, rank=rank).epoch(0))) for rank in range(3)]
    assert [chunk.samples for chunk in shares] == [3, 3, 2]
    assert [chunk.weight for chunk in shares] == [9 / 8, 9 / 8, 6 / 8]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, SIZE),
        ({"drop_last": True}, 48),
        ({"world": 5, "batch_size": 10}, 50),  # 3 samples cannot be shared by 5 ranks
        ({"world": 3, "batch_size": 10}, SIZE),
        ({"batch_size": 60}, SIZE),
        ({"batch_size": 60, "drop_last": True}, 0),
    ],
)
def test_an_incomplete_last_batch_is_used_where_every_rank_gets_a_share(options, expected):
    world = options.get("world", 1)
    ranks = [updates(loader(**options | {"rank": rank})) for rank in range(world)]
    assert sum(len(share) for updates in ranks for share in updates) == expected
    assert all(share for updates in ranks for share in updates)
    assert {len(updates) for updates in ranks} == {len(loader(**options))}


def test_more_ranks_than_samples_of_a_batch_are_refused():
    with pytest.raises(ValueError, match="a batch of 2 cannot be shared by 3"):
        loader(batch_size=2, world=3)


def test_workers_give_the_batches_that_this_process_would():
    here, there = loader(accumulate=2), loader(accumulate=2, workers=2)
    for expected, chunk in zip(here.epoch(1, skip=1), there.epoch(1, skip=1), strict=True):
        assert torch.equal(chunk.batch, expected.batch)
        assert chunk[1:] == expected[1:]


@pytest.mark.parametrize("world", [1, 2, 3])
def test_evaluation_shows_every_sample_once(world):
    seen = [
        batch.tolist()
        for rank in range(world)
        for batch in in_order(fetch, SIZE, batch_size=10, rank=rank, world=world)
    ]
    assert sorted(sum(seen, [])) == list(range(SIZE))
