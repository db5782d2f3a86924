"""Where shards are made: in this process, in a pool of processes, or on a Ray cluster.

Owns the executors and nothing of the work: each runs ``indexer.shard.make_shard`` on every shard and tells what came of
it, in whatever order. A worker that dies costs its shard, which another makes; a shard that kills its worker again and
again ends the job with a sentence. Workers of a pool or a cluster load the checkpoint themselves, once each.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from data.cores import cores
from data.errors import IndexStoreError, MissingDependencyError
from indexer.encoder import EncoderPair
from indexer.plan import Shard
from indexer.shard import Made, commit_shard, embed_shard, make_shard
from indexer.sources import BuildParameters

Loader = Callable[[], EncoderPair]
"""Gives the encoders in another process; it travels by pickle, as ``functools.partial(load_encoder, name, "pair")``."""
ATTEMPTS = 4
"""How often workers may die over the same shards before the job gives up."""


class Engine(Protocol):
    """Something that makes shards.

    Attributes:
        workers: how many are made at a time.
    """

    workers: int

    def run(self, folder: Path, shards: Sequence[Shard], parameters: BuildParameters) -> Iterator[Made]:
        """Make every shard in ``folder``; tells of each as soon as it stands.

        Raises:
            IndexStoreError: workers died again and again.
        """


@dataclass
class Inline:
    """One shard after the other in this very process; the encoder uses every core.

    A shard is written while the next one is embedded: waiting for the disk takes up to a tenth of embedding's time.
    """

    pair: EncoderPair
    workers: int = 1

    def run(self, folder: Path, shards: Sequence[Shard], parameters: BuildParameters) -> Iterator[Made]:
        """Make every shard."""
        writing: Future[Made] | None = None
        with ThreadPoolExecutor(1, "write") as writer:
            for shard in shards:
                try:
                    rows = embed_shard(shard, pair=self.pair, parameters=parameters)
                except Exception:
                    if writing is not None:  # what is whole counts
                        yield writing.result()
                    raise
                written, writing = writing, writer.submit(commit_shard, folder, shard, *rows)
                if written is not None:
                    yield written.result()
            if writing is not None:
                yield writing.result()


@dataclass
class Pool:
    """Processes on this machine, each with its share of the cores."""

    load: Loader
    fingerprint: str
    workers: int

    def run(self, folder: Path, shards: Sequence[Shard], parameters: BuildParameters) -> Iterator[Made]:
        """Make every shard."""
        left = {shard.file_name: shard for shard in shards}
        threads = max(1, cores() // self.workers)
        work = functools.partial(_work, self.load, self.fingerprint, folder, parameters)
        for attempt in range(1, ATTEMPTS + 1):
            with ProcessPoolExecutor(
                self.workers, multiprocessing.get_context("spawn"), initializer=_share_cores, initargs=(threads,)
            ) as pool:
                waiting: set[Future[Made]] = {pool.submit(work, shard) for shard in left.values()}
                try:
                    while waiting:
                        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                        for future in done:
                            made = future.result()
                            del left[made.shard]
                            yield made
                except BrokenProcessPool:
                    if attempt == ATTEMPTS:
                        raise IndexStoreError(
                            f"Workers died {ATTEMPTS} times over; {len(left)} shards are left, the next is "
                            f"{min(left)}. Memory may be short: use fewer with --workers. What was made is kept."
                        ) from None
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
            if not left:
                return


@dataclass
class Ray:
    """Tasks on a Ray cluster; the index's directory must be one that every machine of it sees.

    Attributes:
        address: of the cluster; None starts one on this machine.
        gpus: of each task, 0 or a share.
    """

    load: Loader
    fingerprint: str
    workers: int
    address: str | None = None
    gpus: float = 0.0

    def run(self, folder: Path, shards: Sequence[Shard], parameters: BuildParameters) -> Iterator[Made]:
        """Make every shard."""
        ray = _import_ray()
        mine = not ray.is_initialized()
        if mine:
            _connect(ray, self.address, self.workers)
        try:
            task = ray.remote(num_cpus=1, num_gpus=self.gpus, max_retries=ATTEMPTS - 1)(_work)
            queue = list(reversed(shards))
            running: list[Any] = []
            while queue or running:
                while queue and len(running) < 2 * self.workers:  # one ahead for each, so that none waits
                    running.append(task.remote(self.load, self.fingerprint, folder.resolve(), parameters, queue.pop()))
                done, running = ray.wait(running)
                for reference in done:
                    try:
                        yield ray.get(reference)
                    except ray.exceptions.RayTaskError as error:
                        raise error.cause or error from None
                    except ray.exceptions.RayError as error:
                        raise IndexStoreError(
                            f"A worker of the Ray cluster died {ATTEMPTS} times over the same shard "
                            f"({type(error).__name__}). Memory may be short there. What was made is kept."
                        ) from error
        finally:
            if mine:
                ray.shutdown()


def _import_ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise MissingDependencyError(
            'The engine "ray" needs Ray, which is not installed. Run: pip install -e ".[ray]"'
        ) from error
    return ray


def _connect(ray: Any, address: str | None, workers: int) -> None:
    """Join or start a cluster, without its dashboard and its usage report."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    started: dict[str, Any] = {} if address else {"num_cpus": workers, "include_dashboard": False}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **started)
    except (ConnectionError, ValueError, RuntimeError) as error:
        where = f"the Ray cluster at {address}" if address else "a Ray cluster on this machine"
        raise IndexStoreError(f"Cannot reach {where}: {error}. Check --address, or use --engine pool.") from error


def _share_cores(threads: int) -> None:
    """Give this worker its share of the cores, so that workers do not wait for each other."""
    import torch

    torch.set_num_threads(threads)


def _work(load: Loader, fingerprint: str, folder: Path, parameters: BuildParameters, shard: Shard) -> Made:
    """Make a shard in a worker.

    Raises:
        IndexStoreError: the worker finds another checkpoint than the one that the job was planned with.
    """
    pair = _pair(load)
    if pair.fingerprint != fingerprint:
        raise IndexStoreError(
            f"A worker loaded the checkpoint {pair.name} ({pair.fingerprint[:12]}), but the job is for "
            f"{fingerprint[:12]}. Give every machine the same file."
        )
    return make_shard(folder, shard, pair=pair, parameters=parameters)


_loaded: list[tuple[Any, EncoderPair]] = []


def _pair(load: Loader) -> EncoderPair:
    """The encoders of this process, loaded at its first shard."""
    name = repr(load)
    if not _loaded or _loaded[0][0] != name:
        _loaded[:] = [(name, load())]
    return _loaded[0][1]
