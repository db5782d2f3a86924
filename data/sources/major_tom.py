"""MajorTOM Core: Parquet with a patch in each row and a band, as the bytes of a GeoTIFF, in each column.

Owns that layout for Sentinel-2, L1C and L2A. A row is read alone, with the row group that it lies in (in the files as
published every row is one). Bands of 20 m and 60 m are repeated onto the grid of the finest (:mod:`data.radiometry`).
Refuses Parquet without the columns of the visible bands, and rows whose bands do not lie on one grid.

Source:
    Francis and Czerkawski 2024, Major TOM: Expandable Datasets for Earth Observation, arXiv:2402.12095; the columns of
    ``Major-TOM/Core-S2L2A`` and ``Core-S2L1C`` on the Hugging Face hub: product_id, grid_cell, timestamp (text, UTC),
    B01…B12, cloud_mask (0 clear, 1 thick cloud, 2 thin cloud, 3 shadow of a cloud), thumbnail.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile

from data.bands import L1C_BANDS, VISIBLE_BANDS, canonical
from data.errors import CoordinateError, PatchError, SourceError
from data.outline import outline_of
from data.patch import MAX_BYTES, MAX_VALUES, Patch, guess_offset
from data.radiometry import NODATA, SATURATED, cloud_percent, offset_of_baseline, reflectance, repeat_pixels
from data.sources.base import Level, Record

CLOUD_MASK_CLOUDS = (1, 2)
TIME_COLUMNS = ("timestamp", "product_datetime")
_PRODUCT_TIME = re.compile(r"_MSIL\d[AC]_(\d{8}T\d{6})_")


@dataclass(frozen=True)
class _Raster:
    values: NDArray[Any]
    crs: Any
    transform: Any


class MajorTomSource:
    """The rows of some Parquet files.

    Attributes:
        kind: "major-tom".
        addresses: "images/part_00001.parquet#17": the file relative to the root, then the row in it. A file that cannot
            be opened has one address, its path.
        root: folder of the files.
    """

    kind: str = "major-tom"

    def __init__(self, root: Path, files: Sequence[Path]) -> None:
        """Read the files' footers; no row is read.

        Args:
            root: folder of the files.
            files: Parquet files in it; those without a column of a band, as ``metadata.parquet``, are no images and are
                passed over.

        Raises:
            SourceError: no file has images, or none can be opened.
        """
        self.root = root
        self._row_starts: dict[str, NDArray[np.int64]] = {}  # of row groups, and where the last one ends
        self._damaged: dict[str, str] = {}
        addresses: list[str] = []
        for path in sorted(files):
            name = path.relative_to(root).as_posix()
            try:
                with pq.ParquetFile(path) as file:
                    counts = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
                    columns = file.schema_arrow.names
            except (OSError, pa.ArrowException) as error:
                self._damaged[name] = f"{name}: the Parquet file is damaged ({error}). Download it again."
                addresses.append(name)
                continue
            if set(VISIBLE_BANDS) <= {canonical(column) for column in columns}:
                self._row_starts[name] = np.cumsum([0, *counts])
                addresses += [f"{name}#{row}" for row in range(sum(counts))]
        self.addresses: Sequence[str] = addresses
        if len(addresses) == len(self._damaged):
            wanted = (
                f"{root}: no Parquet of MajorTOM there: no row with the columns {', '.join(sorted(VISIBLE_BANDS))}."
            )
            raise SourceError(next(iter(self._damaged.values()), wanted))

    def read(self, address: str) -> Record:
        """Read one row.

        The offset of baseline 04.00 is taken off by the baseline in ``product_id``; where that has none, by what is
        seen in the data (:func:`data.patch.guess_offset`).

        Raises:
            PatchError: a band is damaged or does not fit the others, or there is no such address.
        """
        if address in self._damaged:
            raise PatchError(self._damaged[address])
        name, _, text = address.rpartition("#")
        starts = self._row_starts.get(name)
        if starts is None or not text.isdecimal() or int(text) >= starts[-1]:
            raise PatchError(f"{address}: no row here has this address; expected one as {self.addresses[0]}.")
        row = _row(self.root / name, starts, int(text))
        there = {canonical(column): column for column in row}
        named = [band for band in L1C_BANDS if band in there]
        rasters = [_raster(row[there[band]], f"{address}, {band}") for band in named]
        finest = max(rasters, key=lambda raster: raster.values.shape[1])
        numbers = np.stack(
            [_on_grid(raster, finest, f"{address}, {band}") for raster, band in zip(rasters, named, strict=True)]
        )
        product = str(row.get("product_id") or "")
        try:
            centre, outline = outline_of(finest.crs, finest.transform, *finest.values.shape[::-1])
        except CoordinateError as error:
            raise PatchError(f"{address}: wrong coordinate system: {error} Download the file again.") from error
        patch = Patch(
            reflectance(numbers, offset=_offset(product, numbers)),
            tuple(named),
            centre,
            float(finest.transform.a),
            _time(row, product, address),
            address,
        )
        clouds = None
        if row.get("cloud_mask") is not None:
            mask = _raster(row["cloud_mask"], f"{address}, cloud_mask").values
            clouds = cloud_percent(mask, clouds=CLOUD_MASK_CLOUDS, nodata=None)
        level: Level = "L1C" if "_MSIL1C_" in product or "B10" in named else "L2A"
        return Record(patch, address, outline, level, clouds)


def open_major_tom(path: Path) -> MajorTomSource:
    """One Parquet file, or all in a folder and below it.

    Raises:
        SourceError: none has images, or none can be opened.
    """
    return MajorTomSource(path.parent, [path]) if path.is_file() else MajorTomSource(path, [*path.rglob("*.parquet")])


def _row(path: Path, starts: NDArray[np.int64], number: int) -> dict[str, Any]:
    """The columns of one row that are of use."""
    group = int(np.searchsorted(starts, number, side="right")) - 1
    try:
        with pq.ParquetFile(path) as file:
            wanted = {*L1C_BANDS, "PRODUCT_ID", "CLOUD_MASK", *(column.upper() for column in TIME_COLUMNS)}
            columns = [name for name in file.schema_arrow.names if canonical(name) in wanted]
            table = file.read_row_group(group, columns=columns)
        row: dict[str, Any] = table.slice(number - int(starts[group]), 1).to_pylist()[0]
        return row
    except (OSError, IndexError, pa.ArrowException) as error:
        raise PatchError(f"{path.name}, row {number}: cannot be read ({error}). Download the file again.") from error


def _raster(content: Any, label: str) -> _Raster:
    """One band, its size known before it is decoded."""
    if not isinstance(content, bytes) or not content:
        raise PatchError(f"{label}: no GeoTIFF in this column ({type(content).__name__}). Leave the row out.")
    if len(content) > MAX_BYTES:
        raise PatchError(f"{label}: {len(content):,} bytes are more than the {MAX_BYTES >> 20} MB a band may have.")
    try:
        with warnings.catch_warnings(), MemoryFile(content) as file:
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with file.open(driver="GTiff") as dataset:
                if dataset.count * dataset.height * dataset.width * len(L1C_BANDS) > MAX_VALUES:
                    raise PatchError(
                        f"{label}: {dataset.width}×{dataset.height} pixels in {dataset.count} layers are more than a "
                        "patch may have. Cut smaller patches."
                    )
                if dataset.crs is None or not dataset.crs.is_projected:
                    raise PatchError(
                        f"{label}: no georeference in metres (coordinate system: {dataset.crs}). Export it in UTM."
                    )
                return _Raster(dataset.read(1), dataset.crs, dataset.transform)
    except RasterioError as error:
        reason = str(error).splitlines()[0]
        raise PatchError(f"{label}: the GeoTIFF is damaged ({reason}). Download the file again.") from error


def _on_grid(raster: _Raster, finest: _Raster, label: str) -> NDArray[Any]:
    """A band on the grid of the finest."""
    factor = max(1, round(finest.values.shape[1] / raster.values.shape[1]))
    values = repeat_pixels(raster.values, factor)
    apart = max(abs(raster.transform.c - finest.transform.c), abs(raster.transform.f - finest.transform.f))
    if values.shape != finest.values.shape or raster.crs != finest.crs or apart > raster.transform.a:
        raise PatchError(f"{label}: {_grid(raster)} do not fit the patch's {_grid(finest)}. Leave the row out.")
    return values


def _grid(raster: _Raster) -> str:
    height, width = raster.values.shape
    return f"{width}×{height} pixels from ({raster.transform.c:g}, {raster.transform.f:g}) in {raster.crs}"


def _offset(product: str, numbers: NDArray[Any]) -> float:
    if re.search(r"_N\d{4}_", product):
        return offset_of_baseline(product)
    return guess_offset(np.where((numbers == NODATA) | (numbers == SATURATED), np.nan, numbers.astype(np.float32)))


def _time(row: dict[str, Any], product: str, address: str) -> datetime | None:
    """When, in UTC: from its column, or from the product's name."""
    value = next((row[name] for name in TIME_COLUMNS if row.get(name)), None)
    if value is None:
        found = _PRODUCT_TIME.search(product)
        value = found[1] if found else None
    if value is None:
        return None
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise PatchError(f"{address}: the time is {value!r}; expected one as 2022-07-06T04:37:11.") from error
