"""A job of 10⁹ tiles, projected from what one tile costs here: hours, bytes, money, and what failures add.

    python -m benchmarks.scale [--tiles 1e9] [--workers 2000] [--costs benchmarks/scale_costs.json]

Simulates the indexer's own way of working, event by event: a queue of shards; each worker takes the next one; a worker
that dies loses what it had of its shard, which goes back into the queue, and another starts in its stead. A shard's
time is that of its tiles (``benchmarks.scale_costs`` measures them on one core), times some noise, times a factor where
it straggles. Then the index: one task a partition. Rates of failure and prices are assumptions, and options.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexer.ann import list_count
from indexer.ann_build import ITERATIONS, POINTS_PER_LIST

HOUR_S = 3600.0
NOISE = 0.1
"""Standard deviation of the logarithm of a shard's time."""
DIM = 256


@dataclass(frozen=True)
class Fleet:
    """Workers of one core each.

    Attributes:
        workers: how many at a time.
        deaths_per_hour: of one worker, at any moment of its work alike.
        restart_s: until another stands in its stead.
        straggling: share of shards that take longer.
        slowdown: how many times longer.
    """

    workers: int
    deaths_per_hour: float = 0.0
    restart_s: float = 0.0
    straggling: float = 0.0
    slowdown: float = 1.0


@dataclass(frozen=True)
class Outcome:
    """What a job took.

    Attributes:
        hours: from its begin to its end.
        useful_h: worker hours that went into finished shards.
        lost_h: worker hours of work that died unfinished.
        deaths: of workers.
    """

    hours: float
    useful_h: float
    lost_h: float
    deaths: int


def shard_seconds(shards: int, each_s: float, fleet: Fleet, rng: np.random.Generator) -> NDArray[np.float64]:
    """(shards,) seconds without deaths: mean ``each_s`` for those that do not straggle."""
    noise = np.exp(rng.normal(-(NOISE**2) / 2, NOISE, shards))
    return np.asarray(each_s * noise * np.where(rng.random(shards) < fleet.straggling, fleet.slowdown, 1.0))


def simulate(durations_s: NDArray[np.float64], fleet: Fleet, *, seed: int = 0) -> Outcome:
    """Run shards of these durations, in this order, on a fleet."""
    deaths_at = _death_times(fleet.deaths_per_hour / HOUR_S, np.random.default_rng(seed))
    waiting = deque(range(len(durations_s)))
    seconds = durations_s.tolist()
    idle, deaths = fleet.workers, 0
    now = ended = lost = 0.0
    events: list[tuple[float, int]] = []  # when, and the shard that ends, ~shard where it dies, or RESTARTED
    restarted = len(seconds)
    while waiting or events:
        while idle and waiting:
            shard = waiting.popleft()
            idle -= 1
            survived = next(deaths_at)
            if survived < seconds[shard]:
                lost += survived
                heapq.heappush(events, (now + survived, ~shard))
            else:
                heapq.heappush(events, (now + seconds[shard], shard))
        if not events:
            break
        now, event = heapq.heappop(events)
        if event < 0:
            deaths += 1
            waiting.append(~event)
            heapq.heappush(events, (now + fleet.restart_s, restarted))
        else:
            idle += 1
            if event != restarted:
                ended = now
    return Outcome(ended / HOUR_S, sum(seconds) / HOUR_S, lost / HOUR_S, deaths)


def _death_times(rate_per_s: float, rng: np.random.Generator) -> Iterator[float]:
    """How long a worker lives on from any moment: exponential, so it does not matter how long it has lived."""
    while True:
        yield from rng.exponential(1 / rate_per_s, 4096).tolist() if rate_per_s else [math.inf]


def partition_seconds(rows: float, costs: dict[str, float]) -> float:
    """One core's time to make a partition's index as the indexer does, but comparing each row with every centre."""
    lists = list_count(int(rows))
    sample = min(rows, POINTS_PER_LIST * lists)
    products = (ITERATIONS * sample + rows) * lists
    return products * DIM / costs["assign_mults_per_s"] + rows * costs["code_s"]


def print_jobs(tiles: float, per_shard: int, fleet: Fleet, costs: dict[str, float], dollars: float) -> None:
    """Print what the embedding takes: under failures, with shards of other sizes, and with the fastest encoder."""
    quiet = replace(fleet, deaths_per_hour=0, straggling=0)
    bad = replace(fleet, deaths_per_hour=10 * fleet.deaths_per_hour, straggling=0.05, slowdown=10)
    rest = costs["read_s"] + costs["write_s"]
    both = rest + costs["embed_s"]
    rows = [("nothing fails", per_shard, quiet, both), ("as assumed", per_shard, fleet, both)]
    rows += [("ten times the deaths, 5 % straggle tenfold", per_shard, bad, both)]
    rows += [("as assumed", size, fleet, both) for size in (max(1, per_shard // 4), per_shard * 4, per_shard * 16)]
    rows += [("the encoder takes no time", per_shard * 4, fleet, rest)]
    print("| embedding | tiles a shard | shards | hours | lost work | beside an even split | read, GB/s | cost, $ |")
    print("|---|---|---|---|---|---|---|---|")
    for name, size, crew, tile_s in rows:
        shards = math.ceil(tiles / size)
        durations = shard_seconds(shards, size * tile_s, crew, np.random.default_rng(1))
        found = simulate(durations, crew)
        perfect = tiles * tile_s / crew.workers / HOUR_S
        rate = tiles * costs["file_bytes"] / found.hours / HOUR_S / 1e9
        print(
            f"| {name} | {size:,} | {shards:,} | {found.hours:,.1f} | {found.lost_h / found.useful_h:.2%} | "
            f"{found.hours / perfect:.3f}× | {rate:,.1f} | {found.hours * crew.workers * dollars:,.0f} |",
            flush=True,
        )


def print_index(tiles: float, fleet: Fleet, costs: dict[str, float], dollars: float) -> None:
    """Print what the index takes, in partitions of several sizes."""
    print("| index, rows a partition | partitions | lists | core hours each | hours in all | cost, $ |")
    print("|---|---|---|---|---|---|")
    for rows in (1e6, 1e7, 1e8):
        count = math.ceil(tiles / rows)
        each = partition_seconds(rows, costs)
        found = simulate(shard_seconds(count, each, fleet, np.random.default_rng(1)), fleet)
        paid = (found.useful_h + found.lost_h) * dollars
        hours = f"{each / HOUR_S:,.2f} | {found.hours:,.2f}"
        print(f"| {rows:,.0f} | {count:,} | {list_count(int(rows)):,} | {hours} | {paid:,.2f} |")


def print_bytes(tiles: float, costs: dict[str, float], month: float) -> None:
    """Print what is read, kept and held in memory."""
    print("| bytes | each | all | in an object store, $ a month |")
    print("|---|---|---|---|")
    kinds = {
        "imagery, read once": (costs["file_bytes"], False),
        "rows with vectors and thumbnails (Parquet)": (costs["row_bytes"], True),
        "vectors to search exactly and refine from (on local disks)": (4.0 * DIM, False),
        "codes (in memory)": (costs["code_bytes"], False),
    }
    for name, (each, kept) in kinds.items():
        price = f"{tiles * each / 1e9 * month:,.0f}" if kept else ""
        print(f"| {name} | {each:,.0f} | {tiles * each / 1e12:,.3f} TB | {price} |")


def main() -> None:
    """Project."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--costs", type=Path, default=Path(__file__).with_name("scale_costs.json"))
    parser.add_argument("--tiles", type=float, default=1e9)
    parser.add_argument("--workers", type=int, default=2000)
    parser.add_argument("--per-shard", type=int, default=4096)
    parser.add_argument("--deaths-per-hour", type=float, default=0.05, help="of one worker, as of spot machines")
    parser.add_argument("--restart-s", type=float, default=120.0, help="until a new machine is there")
    parser.add_argument("--straggling", type=float, default=0.02, help="share of shards that take --slowdown as long")
    parser.add_argument("--slowdown", type=float, default=3.0)
    parser.add_argument("--dollars-per-core-hour", type=float, default=0.02)
    parser.add_argument("--dollars-per-gb-month", type=float, default=0.023)
    given = parser.parse_args()
    costs = json.loads(given.costs.read_text(encoding="utf-8"))
    fleet = Fleet(
        given.workers,
        deaths_per_hour=given.deaths_per_hour,
        restart_s=given.restart_s + costs["start_s"],
        straggling=given.straggling,
        slowdown=given.slowdown,
    )
    print_jobs(given.tiles, given.per_shard, fleet, costs, given.dollars_per_core_hour)
    print()
    print_index(given.tiles, fleet, costs, given.dollars_per_core_hour)
    print()
    print_bytes(given.tiles, costs, given.dollars_per_gb_month)


if __name__ == "__main__":
    main()
