"""Batches in an order that depends on (seed, epoch) alone.

Neither the number of processes nor workers, nor where an epoch was resumed, changes which samples
meet in one update: the global order is drawn per epoch from its own generator, every update takes
the next slice of it, every rank a contiguous part of each slice. The global random state is never
touched, so resuming inside an epoch is exact.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

Fetch = Callable[[Tensor, int], Any]
"""``fetch(indices, epoch)`` gives one batch; pure, and picklable when workers are used."""


class Chunk(NamedTuple):
    """One batch of this rank.

    Attributes:
        batch: what `fetch` returned.
        samples: how many of them.
        weight: factor on its mean loss, so that the gradients, summed over the batches of an
            update and averaged over ranks, are those of the mean over the whole update.
        last: whether the update is complete with it.
    """

    batch: Any
    samples: int
    weight: float
    last: bool


class Loader:
    """Shuffled, sharded, resumable batches.

    Args:
        fetch: gives the batch of some indices in an epoch.
        size: number of samples.
        batch_size: samples per batch over all ranks.
        accumulate: batches per update.
        seed: seed of the order.
        drop_last: leave out an incomplete last batch.
        workers: processes that call `fetch`; 0: this one.
        rank: of `world` processes.
        world: number of processes; a last batch smaller than this is left out.
    """

    def __init__(
        self,
        fetch: Fetch,
        size: int,
        *,
        batch_size: int,
        accumulate: int = 1,
        seed: int = 0,
        drop_last: bool = False,
        workers: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if batch_size < world:
            raise ValueError(f"a batch of {batch_size} cannot be shared by {world} processes")
        self.fetch, self.size, self.batch_size = fetch, size, batch_size
        self.accumulate, self.seed, self.workers = accumulate, seed, workers
        self.rank, self.world = rank, world
        least = batch_size if drop_last else world
        rest = size % batch_size
        self.used = size - rest if rest < least else size

    def __len__(self) -> int:
        """Return the number of updates in an epoch."""
        return -(-self.used // (self.batch_size * self.accumulate))

    def epoch(self, epoch: int, *, skip: int = 0) -> Iterator[Chunk]:
        """Yield the chunks of an epoch after its first `skip` updates."""
        plan = list(self._plan(epoch, skip))
        indices = [mine for mine, _, _ in plan]
        for batch, (mine, weight, last) in zip(self._batches(indices, epoch), plan, strict=True):
            yield Chunk(batch, len(mine), weight, last)

    def _plan(self, epoch: int, skip: int) -> Iterator[tuple[Tensor, float, bool]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(self.size, generator=generator)[: self.used]
        for update in order.split(self.batch_size * self.accumulate)[skip : len(self)]:
            batches = update.split(self.batch_size)
            for number, batch in enumerate(batches, start=1):
                mine = batch.tensor_split(self.world)[self.rank]
                yield mine, len(mine) * self.world / len(update), number == len(batches)

    def _batches(self, indices: list[Tensor], epoch: int) -> Iterator[Any]:
        if not self.workers:
            return (self.fetch(mine, epoch) for mine in indices)
        loader = DataLoader(
            _Batches(self.fetch, indices, epoch),
            batch_size=None,
            num_workers=self.workers,
            worker_init_fn=_ignore_interrupts,
            generator=torch.Generator(),  # otherwise the global random state would move
        )
        return iter(loader)


def in_order(
    fetch: Fetch, size: int, *, batch_size: int, rank: int = 0, world: int = 1
) -> Iterator[Any]:
    """Yield this rank's part of every batch, in the order of the data, for evaluation."""
    for batch in torch.arange(size).split(batch_size):
        mine = batch.tensor_split(world)[rank]
        if len(mine):
            yield fetch(mine, 0)


def _ignore_interrupts(number: int) -> None:
    """Let Ctrl-C, which a terminal sends to every process, stop the loop and not its readers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Batches(Dataset[Any]):
    """The batches of one epoch as a map-style data set, for worker processes."""

    def __init__(self, fetch: Fetch, indices: list[Tensor], epoch: int) -> None:
        self.fetch, self.indices, self.epoch = fetch, indices, epoch

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, number: int) -> Any:
        return self.fetch(self.indices[number], self.epoch)
