"""The simulation behind docs/scale.md, against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.scale import DIM, HOUR_S, Fleet, partition_seconds, shard_seconds, simulate

durations = st.lists(st.floats(0.1, 1e4), min_size=1, max_size=60).map(np.array)


@given(seconds=durations)
def test_one_worker_takes_the_sum(seconds: np.ndarray) -> None:
    found = simulate(seconds, Fleet(1))
    assert found.hours * HOUR_S == pytest.approx(seconds.sum())
    assert found.useful_h == pytest.approx(found.hours)
    assert (found.lost_h, found.deaths) == (0, 0)


@given(seconds=durations, workers=st.integers(1, 80))
def test_many_workers_keep_grahams_bound(seconds: np.ndarray, workers: int) -> None:
    took = simulate(seconds, Fleet(workers)).hours * HOUR_S
    lower = max(seconds.sum() / workers, seconds.max())
    assert lower * (1 - 1e-9) <= took <= (seconds.sum() / workers + (1 - 1 / workers) * seconds.max()) * (1 + 1e-9)
    if workers >= len(seconds):
        assert took == pytest.approx(seconds.max())


def test_equal_shards_run_in_waves() -> None:
    assert simulate(np.full(1001, 60.0), Fleet(100)).hours * HOUR_S == pytest.approx(11 * 60)
    assert simulate(np.empty(0), Fleet(3)).hours == 0


@pytest.mark.parametrize(("rate", "restart_s"), [(0.5, 0.0), (2.0, 300.0)])
def test_deaths_cost_what_the_exponential_says(rate: float, restart_s: float) -> None:
    shard_s, count = 1800.0, 4000
    found = simulate(np.full(count, shard_s), Fleet(1, deaths_per_hour=rate, restart_s=restart_s), seed=3)
    per_s = rate / HOUR_S
    tries = math.exp(per_s * shard_s)  # until one lives long enough
    deaths = count * (tries - 1)
    assert found.deaths == pytest.approx(deaths, abs=4 * math.sqrt(count * tries * (tries - 1)))  # geometric
    expected_s = count * (tries - 1) * (1 / per_s + restart_s)
    assert found.hours * HOUR_S == pytest.approx(expected_s, rel=0.05)
    lost_s = count * ((tries - 1) / per_s - shard_s)
    assert found.lost_h * HOUR_S == pytest.approx(lost_s, rel=0.06)


def test_a_last_shard_that_dies_is_made_by_whoever_is_idle() -> None:
    fleet = Fleet(2, deaths_per_hour=2.0, restart_s=1e9)  # those who die never come back in time
    many = [simulate(np.array([1800.0]), fleet, seed=seed) for seed in range(300)]
    once = [found for found in many if found.deaths == 1]
    assert len(once) > 50
    for found in once:
        assert found.hours == pytest.approx(0.5 + found.lost_h)  # taken over at once by the other


def test_stragglers_take_as_much_longer_as_they_should() -> None:
    fleet = Fleet(1, straggling=0.1, slowdown=5.0)
    seconds = shard_seconds(200_000, 10.0, fleet, np.random.default_rng(0))
    assert seconds.mean() == pytest.approx(10 * (0.9 + 0.1 * 5), rel=0.01)


def test_a_partition_costs_its_products() -> None:
    costs = {"assign_mults_per_s": 1e10, "code_s": 0.0}
    products = (8 * 64 * 2048 + 1e6) * 2048 * DIM  # eight rounds on 64 rows of each of 2,048 lists, then every row
    assert partition_seconds(1e6, costs) == pytest.approx(products / 1e10)
    assert partition_seconds(1e6, costs | {"code_s": 1e-6}) - partition_seconds(1e6, costs) == pytest.approx(1)
