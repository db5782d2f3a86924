"""A snapshot on disk as a store: what a first answer loads, and columns looked at without pandas."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from indexer.rows import numbers_of, row_numbers

FIRST = """
import sys
from pathlib import Path
import numpy as np
from indexer.local import LocalStore
from indexer.where import Where
store = LocalStore(Path(sys.argv[1]))
row = store.vectors("cells", [7])
plain = store.search("cells", row, 3, where=Where(), view="both")
there = store.search("cells", row, 3, where=Where(continents=("AF",)), view="both")
names = store.take("cells", there.rows)["continent"].to_pylist()
print(plain.rows[0], set(names), sorted({"pandas", "torch"} & set(sys.modules)))
"""


def test_a_first_answer_loads_neither_pandas_nor_torch(built: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FIRST, str(built)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "7 {'AF'} []"


@pytest.mark.parametrize("kind", [pa.uint64(), pa.float64(), pa.float32(), pa.int8(), pa.uint16()])
def test_columns_are_looked_at_as_arrow_gives_them(kind: pa.DataType) -> None:
    whole = pa.array(range(100)).cast(kind)
    for column in (
        pa.chunked_array([whole]),
        pa.chunked_array([whole[3:50], whole[50:90]]),
        pa.chunked_array([whole[:0]]),
    ):
        found = numbers_of(column)
        assert np.array_equal(found, column.to_numpy()) and found.dtype == column.to_numpy().dtype
    one = pa.chunked_array([whole[5:60]])
    assert numbers_of(one).ctypes.data == whole.buffers()[1].address + 5 * kind.bit_width // 8  # no copy


def test_times_are_counted_and_what_is_missing_keeps_its_place() -> None:
    times = pa.array([5, None, 7], pa.timestamp("us", tz="UTC"))
    assert numbers_of(pa.chunked_array([times]))[[0, 2]].tolist() == [5, 7]


def test_row_numbers_take_what_arrow_would() -> None:
    table = pa.table({"a": np.arange(50)})
    rows = np.array([9, 0, 49, 9])
    for given in (rows, rows.astype(np.int32), rows[::-1], rows.tolist(), np.empty(0, dtype=np.int64)):
        assert table.take(row_numbers(given)).equals(table.take(pa.array(np.asarray(given, dtype=np.int64))))
