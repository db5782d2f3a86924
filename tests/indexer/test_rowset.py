"""Row sets against sets of numbers."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from indexer.rowset import RowSet

some = st.sets(st.integers(0, 60))
runs = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)))


@given(some, some)
def test_sets(a: set[int], b: set[int]) -> None:
    first, second = RowSet.from_rows(sorted(a)), RowSet.from_rows(sorted(b, reverse=True))
    assert first.rows().tolist() == sorted(a)
    assert first.count == len(a)
    assert np.flatnonzero(first.mask(61)).tolist() == sorted(a)
    assert (first & second).rows().tolist() == sorted(a & b)
    np.testing.assert_array_equal(RowSet.from_mask(first.mask(61)).runs, first.runs)
    assert (first.runs[1:, 0] > first.runs[:-1, 1]).all()


@given(runs)
def test_runs_are_joined(pairs: list[tuple[int, int]]) -> None:
    made = RowSet.from_runs(pairs)
    assert made.rows().tolist() == sorted({row for start, stop in pairs for row in range(start, stop)})
    assert (made.runs[1:, 0] > made.runs[:-1, 1]).all()
