"""The feature tables that MOSAIKS publishes: one row a cell of 0.01°, one column a feature.

Owns their reading. A table has columns of latitude and longitude (``lat`` and ``lon``, or the words in full) and
features ``X_0``, ``X_1`` …, as CSV or Parquet. A place takes the row of the nearest cell; farther from any than a
cell's diagonal it knows nothing, and its row is zeros.

Source:
    Rolf et al. 2021 (Nature Communications 12, 4392), "Data availability"; the tables of siml.berkeley.edu/mosaiks.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from data.errors import CheckpointError, CoordinateError
from data.geo import EARTH_RADIUS_KM, Floats, unit_vectors, validate_lonlat
from model.baselines.base import Baseline
from model.encoder import Vectors, check_points

CELL_DEG = 0.01
WITHIN_KM = float(np.radians(CELL_DEG) * EARTH_RADIUS_KM / np.sqrt(2))
"""Half the diagonal of a cell at the equator: 0.79 km."""
NAMES = {"lon": ("lon", "longitude", "lng", "x"), "lat": ("lat", "latitude", "y")}
_FEATURE = re.compile(r"X_?(\d+)", re.IGNORECASE)


class MosaiksTable(Baseline):
    """Features looked up in a published table."""

    def __init__(self, lonlat: Floats, features: NDArray[np.float32], *, path: Path) -> None:
        """Take the cells' centres, (R, 2) degrees, and their features, (R, D)."""
        card = {
            "description": f"published MOSAIKS features, {len(lonlat):,} cells of 0.01°",
            "source": "Rolf et al. 2021, MOSAIKS (Nature Communications 12, 4392)",
            "weights": path.name,
            "license": "as the table's publisher says",
        }
        super().__init__("mosaiks", features.shape[1], card=card)
        self._features, self._tree = features, cKDTree(unit_vectors(lonlat))

    def covers(self, lonlat: ArrayLike | Tensor) -> NDArray[np.bool_]:
        """Which of (N, 2) places lie within 0.79 km of a cell's centre: (N,)."""
        return np.asarray(self._nearest(check_points(lonlat)) < len(self._features), dtype=bool)

    def encode_location(self, lonlat: ArrayLike | Tensor) -> Vectors:
        """As :meth:`Baseline.encode_location`."""
        nearest = self._nearest(check_points(lonlat))
        known = nearest < len(self._features)
        out = np.zeros((len(nearest), self.dim), dtype=np.float32)
        out[known] = self._features[nearest[known]]
        return out

    def _nearest(self, points: Floats) -> NDArray[np.intp]:
        """Row number of the nearest cell; the number of rows where none is near enough."""
        chord = 2 * np.sin(WITHIN_KM / EARTH_RADIUS_KM / 2)
        _, rows = self._tree.query(unit_vectors(points), distance_upper_bound=chord * (1 + 1e-9))
        return np.asarray(rows, dtype=np.intp)


def load_table(path: Path) -> MosaiksTable:
    """Read a feature table.

    Raises:
        CheckpointError: it is missing or damaged, has no such columns, no rows, or something else than numbers in them;
            the sentence names column and row.
    """
    table = _read(path)
    columns = {name.casefold(): name for name in table.column_names}
    found = {axis: next((columns[n] for n in names if n in columns), None) for axis, names in NAMES.items()}
    features = sorted((int(m[1]), name) for name in table.column_names if (m := _FEATURE.fullmatch(name)))
    lacking = [axis for axis, name in found.items() if name is None] + ([] if features else ["X_0"])
    if lacking or not table.num_rows:
        seen = ", ".join(table.column_names[:8])
        raise CheckpointError(
            f"{path}: not a feature table of MOSAIKS: it has {table.num_rows:,} rows and the columns {seen}, but no "
            f"{' and no '.join(lacking) or 'rows'}. Expected lat, lon, X_0, X_1 …"
        )
    lonlat = np.stack([_numbers(table, str(found[axis]), path) for axis in ("lon", "lat")], axis=1)
    try:
        points = validate_lonlat(lonlat, where=str(path))
    except CoordinateError as error:
        raise CheckpointError(str(error)) from error
    values = np.stack([_numbers(table, name, path).astype(np.float32) for _, name in features], axis=1)
    return MosaiksTable(points, values, path=path)


def _read(path: Path) -> pa.Table:
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file. Give a MOSAIKS feature table, .csv or .parquet.")
    try:
        if path.suffix.casefold() in (".parquet", ".pq"):
            return pyarrow.parquet.read_table(path)
        return pyarrow.csv.read_csv(path)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path}: cannot be read as a table ({reason}). Download it again.") from error


def _numbers(table: pa.Table, name: str, path: Path) -> Floats:
    """A column as float64.

    Raises:
        CheckpointError: it holds text, or a value is missing; names the row.
    """
    column = table.column(name)
    try:
        values = np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)
    except (pa.ArrowException, ValueError) as error:
        raise CheckpointError(f"{path}: the column {name} is {column.type}, not numbers ({error}).") from error
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values)))
        raise CheckpointError(f"{path}: the column {name} has no number in row {row}. Remove the row.")
    return values
