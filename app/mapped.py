"""A variable predicted for every cell: as maps of value and uncertainty, as files, and as a reader's own fit.

Owns what the page Predict computes. Uncertainty is half the width of the 90 % interval, or for classes one less the
probability of the most likely. Uploaded tables are bounded before they are read, and what kind they are is seen from
their content; their names are never part of a path.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from app.climates import COLOURS as CLIMATE_COLOURS
from app.field_image import Legend, data_url, draw_values
from app.predictions import about_of, add_columns, write_map, write_table
from app.regions import cell_places, cell_vectors, paint
from data.errors import HeadError, TableError
from data.geo import BBox, Floats, cell_to_hex

if TYPE_CHECKING:
    from data.table import Points
    from indexer.search import SearchIndex
    from model.encoder import EncoderPair
    from model.fit import FitReport
    from model.predict import Prediction, Predictor

What = Literal["value", "uncertainty"]
MAX_TABLE_BYTES = 32 * 1024 * 1024
MAX_UNPACKED_BYTES = 512 * 1024 * 1024
MAX_ROWS = 200_000
MAP_STEP_DEG = 0.5
WORLD = BBox(-180.0, -60.0, 180.0, 85.0)
STRETCH = (2.0, 98.0)
LEVEL = 0.9


@dataclass(frozen=True)
class Mapped:
    """A variable on all cells of an index.

    Attributes:
        found: the prediction of every cell.
        pictures: PNG rasters of value and of uncertainty.
        legends: of both; None where classes have colours of their own.
        classes: name and ``#rrggbb`` of the classes that occur, the commonest first.
    """

    found: Prediction
    pictures: dict[What, bytes]
    legends: dict[What, Legend | None]
    classes: tuple[tuple[str, str, float], ...]


def map_cells(index: SearchIndex, rows: NDArray[np.int32], predictor: Predictor) -> Mapped:
    """Predict every cell and draw both maps.

    Raises:
        HeadError: the variable needs columns beside the place.
        QueryError: the index holds no cells.
    """
    if predictor.columns:
        raise HeadError(
            f"{predictor.variable.title} was fitted with {', '.join(predictor.columns)} beside the place, which is not "
            "known of every place, so there is no map of it. `samewhere predict --points` predicts it for a table."
        )
    found = predictor.predict_vectors(cell_vectors(index))
    doubt = uncertainty(found)
    pictures: dict[What, bytes] = {}
    legends: dict[What, Legend | None] = {}
    low, high = np.nanpercentile(doubt, STRETCH)
    pictures["uncertainty"], legends["uncertainty"] = draw_values(doubt, rows, low=low, high=high, colours="magma")
    classes: list[tuple[str, str, float]] = []
    if found.labels is None:
        low, high = np.nanpercentile(found.values, STRETCH)
        pictures["value"], legends["value"] = draw_values(found.values, rows, low=low, high=high, colours="viridis")
    else:
        palette = class_colours(predictor.variable.classes)
        numbers = found.values.astype(np.int64)
        pictures["value"], legends["value"] = paint(palette[numbers], rows), None
        counts = np.bincount(numbers, minlength=len(palette))
        for number in np.argsort(-counts, kind="stable").tolist():
            if counts[number]:
                colour = "#{:02x}{:02x}{:02x}".format(*palette[number].tolist())
                classes.append((predictor.variable.classes[number], colour, counts[number] / len(numbers)))
    return Mapped(found, pictures, legends, tuple(classes))


def uncertainty(found: Prediction) -> Floats:
    """Half the width of the interval, or one less the probability of the class."""
    if found.probabilities is not None:
        return np.asarray(1 - found.probabilities.max(axis=1), dtype=np.float64)
    return np.asarray((found.high - found.low) / 2, dtype=np.float64)


def class_colours(classes: Sequence[str]) -> NDArray[np.uint8]:
    """(n, 3) colours: those that climates are drawn in, else such that neighbours in the list look unlike."""
    if set(classes) <= CLIMATE_COLOURS.keys():
        return np.array([CLIMATE_COLOURS[name] for name in classes], dtype=np.uint8).reshape(-1, 3)
    from matplotlib import colormaps

    step = np.linspace(0.04, 0.98, len(classes))
    rgb = np.asarray(colormaps["turbo"](step))[:, :3]
    shade = np.where(np.arange(len(classes)) % 2, 0.62, 1.0)[:, None]
    return np.asarray(np.rint(rgb * shade * 255), dtype=np.uint8)


def swatch(colour: str) -> str:
    """A square of a ``#rrggbb`` colour as a ``data:`` URL."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    out = io.BytesIO()
    Image.new("RGB", (24, 24), (red, green, blue)).save(out, "PNG")
    return data_url(out.getvalue(), "image/png")


def geotiff(predictor: Predictor, *, progress: Callable[[float, str], None] | None = None) -> bytes:
    """A map of all land between 60° S and 85° N, half a degree a pixel."""
    return _written(
        ".tif",
        lambda out: write_map(
            out, predictor, WORLD, MAP_STEP_DEG, level=LEVEL, about=about_of(predictor, LEVEL), progress=progress
        ),
    )


def parquet(index: SearchIndex, predictor: Predictor, found: Prediction) -> bytes:
    """All cells with value, interval and flag, as GeoParquet."""
    lonlat = cell_places(index)
    ids = pa.array(cell_to_hex(index.cells()["id"].to_numpy()))
    table = pa.table({"id": ids, "lon": lonlat[:, 0], "lat": lonlat[:, 1]})
    filled = add_columns(table, predictor, found)
    return _written(".parquet", lambda out: write_table(out, filled, lonlat, about_of(predictor, LEVEL)))


def read_upload(content: bytes) -> Points:
    """A table that somebody uploaded.

    Raises:
        TableError: it is too large, or cannot be read.
        CoordinateError: a coordinate is missing or off the globe.
    """
    from data.table import read_points

    if len(content) > MAX_TABLE_BYTES:
        raise TableError(f"The table has {len(content):,} bytes; at most {MAX_TABLE_BYTES >> 20} MB are read here.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("table.parquet" if content[:4] == b"PAR1" else "table.csv")
        path.write_bytes(content)
        if path.suffix == ".parquet":
            import pyarrow.parquet as pq

            try:
                rows = pq.read_metadata(path).num_rows  # before anything is unpacked
            except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
                raise TableError(f"The table cannot be read as Parquet ({str(error)[:300]}).") from error
            if rows > MAX_ROWS:
                raise TableError(f"The table has {rows:,} rows; at most {MAX_ROWS:,} are read here.")
        points = read_points(path, most_bytes=MAX_UNPACKED_BYTES)
    if len(points) > MAX_ROWS:
        raise TableError(f"The table has {len(points):,} rows; at most {MAX_ROWS:,} are read here.")
    return points


def targets_of(points: Points) -> list[str]:
    """Columns that may be predicted."""
    return [name for name in points.table.column_names if name not in (points.lon, points.lat, "geometry")]


def fit(
    points: Points,
    target: str,
    pair: EncoderPair,
    *,
    name: str,
    unit: str = "",
    progress: Callable[[float, str], None] | None = None,
) -> FitReport:
    """Fit a head on a table and keep it under its name, on this machine.

    Raises:
        TableError: nothing can be learned from the column.
        HeadError: the name is taken or cannot be one, or the places do not suffice.
    """
    from data.table import take_sample
    from model.fit import fit_table
    from model.head_file import check_name, head_names, save_head

    if check_name(name) in head_names(pair.fingerprint):
        raise HeadError(f"There is a variable {name!r} already. Choose another name.")
    report = fit_table(take_sample(points, target), pair, name=name, title=name, unit=unit, progress=progress)
    report.saved.about.update(table="uploaded", target=target)
    save_head(report.saved, checkpoint=pair.name, fingerprint=pair.fingerprint)
    return report


def _written(suffix: str, write: Callable[[Path], object]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / f"map{suffix}"
        write(out)
        return out.read_bytes()
