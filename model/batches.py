"""In which order a training run sees its rows, on however many processes, and from where it goes on.

Owns the one sampler of the project. The order depends on seed and epoch alone: a resumed run sees what an unbroken one
would, and several processes share each batch so that together they see what one process sees.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
from torch.utils.data import DataLoader, Dataset, Sampler


class EpochBatches(Sampler[list[int]]):
    """Shuffled batches of row numbers, each in chunks small enough to be encoded at once."""

    def __init__(
        self,
        count: int,
        *,
        batch: int,
        seed: int,
        chunk: int | None = None,
        rank: int = 0,
        world: int = 1,
        shuffle: bool = True,
    ) -> None:
        """``count`` rows in batches of ``batch``; the incomplete last one is dropped.

        Args:
            count: rows there are.
            batch: rows of a batch, over all processes.
            seed: of the order.
            chunk: rows handed out at a time; by default a process's whole share of the batch.
            rank: number of this process; it takes its contiguous share of every batch.
            world: number of processes.
            shuffle: False keeps the rows in order.
        """
        self.count, self.batch, self.seed, self.epoch, self.start = count, batch, seed, 0, 0
        self.chunk, self.rank, self.world, self.shuffle = chunk or batch // world, rank, world, shuffle

    @property
    def chunks(self) -> int:
        """Chunks a batch."""
        return -(-(self.batch // self.world) // self.chunk)

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Chunks an epoch."""
        return self.count // self.batch * self.chunks

    def __iter__(self) -> Iterator[list[int]]:
        """One epoch, without the first ``start`` chunks if it was broken off behind them."""
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.count)
        if not self.shuffle:
            order.sort()
        share, first = self.batch // self.world, self.start
        self.start = 0
        for number in range(first, len(self)):
            batch, chunk = divmod(number, self.chunks)
            begin = batch * self.batch + self.rank * share
            yield order[begin : begin + share][chunk * self.chunk : (chunk + 1) * self.chunk].tolist()


class ResumableLoader(DataLoader[Any]):
    """A loader over :class:`EpochBatches` whose place within an epoch travels in the checkpoint.

    How far a run has come is known to the training loop alone (workers read ahead), so the loop writes ``done``.
    """

    def __init__(self, dataset: Dataset[Any], batches: EpochBatches, *, workers: int = 0) -> None:
        """Hand the sampler's row lists straight to ``dataset``, in ``workers`` processes.

        They are new ones in every epoch, for those that live on keep the ``dataset.epoch`` that they began with.
        """
        self.batches, self.done = batches, 0
        super().__init__(dataset, sampler=batches, batch_size=None, num_workers=workers)

    def __iter__(self) -> Any:
        """One epoch; ``dataset.epoch`` says which, for samples that differ from epoch to epoch."""
        cast(Any, self.dataset).epoch = self.batches.epoch
        return super().__iter__()

    def state_dict(self) -> dict[str, int]:
        """The next chunk to train on: its epoch, and how many of that epoch come before it."""
        ended, done = divmod(self.done, len(self.batches))
        return {"epoch": self.batches.epoch + ended, "done": done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on with that chunk. The epoch is set here, since Lightning sets it only after reading has begun."""
        self.batches.set_epoch(state["epoch"])
        self.batches.start = self.done = state["done"]
