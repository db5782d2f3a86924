"""The patches on this machine: datasets by name, and questions to them.

Owns reading: DuckDB over a dataset's Parquet, with every value from outside as a parameter, and the way back from a row
to its pixels. A dataset is only ever read here (:mod:`data.ingest` writes). Opening one reads nothing but its footer,
and a search only the row groups that may hold an answer, so both grow but little with the dataset.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from data.errors import SourceError
from data.geo import BBox
from data.home import home
from data.ingest import KEPT, ROWS
from data.patch import Patch
from data.rows import decode_pixels
from data.sources.base import Record, Source

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CONFIG: dict[str, Any] = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
_HEAVY = ("geometry",)


def dataset_path(name: str) -> Path:
    """Folder of a dataset; it need not exist.

    Raises:
        SourceError: the name cannot be one.
    """
    if not NAME.fullmatch(name):
        raise SourceError(f"{name!r} cannot be a dataset's name. Use letters, digits, '-', '_' and '.', as in s2-100k.")
    return home() / "data" / name


def dataset_names() -> list[str]:
    """Every dataset that can be opened, in alphabetical order."""
    return sorted(path.parent.name for path in (home() / "data").glob(f"*/{ROWS}"))


class Catalogue:
    """One dataset, open for questions."""

    def __init__(self, path: Path) -> None:
        """Open the dataset in a folder; :meth:`open` takes a name.

        Raises:
            SourceError: there is none, or it is damaged.
        """
        self.path = path
        if not (path / ROWS).is_file():
            there = ", ".join(dataset_names()) or "none yet"
            raise SourceError(f"There is no dataset at {path}. There are: {there}. `samewhere data add` makes one.")
        try:
            self.count: int = pq.read_metadata(path / ROWS).num_rows
        except (OSError, pa.ArrowInvalid) as error:
            raise SourceError(f"{path / ROWS} is damaged ({error}). Add its sources anew.") from error
        self._connection = duckdb.connect(config=_CONFIG)
        self._sources: dict[str, Source] = {}

    @classmethod
    def open(cls, name: str) -> Catalogue:
        """Open a dataset by its name."""
        return cls(dataset_path(name))

    def query(
        self,
        *,
        bbox: BBox | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
        max_cloud_percent: float | None = None,
        countries: Sequence[str] = (),
        polygon: shapely.Geometry | None = None,
        limit: int | None = None,
    ) -> pa.Table:
        """Rows whose centre and time fit, sorted by H3 cell.

        Args:
            bbox: the centre lies inside; may cross the antimeridian.
            after: not earlier; rows without a time are left out.
            before: earlier than this.
            max_cloud_percent: not more cloud; rows of which it is not known are left out.
            countries: ISO 3166 alpha-3, any of these.
            polygon: the centre lies inside, in degrees.
            limit: at most so many rows.

        Returns:
            Every column of ``data.rows.SCHEMA`` but the geometry.
        """
        clauses: list[str] = []
        values: list[Any] = [str(self.path / ROWS)]

        def want(clause: str, *given: Any) -> None:
            clauses.append(clause)
            values.extend(given)

        for box in [bbox] if bbox else []:
            want("lat BETWEEN ? AND ?", box.south, box.north)
            if box.east - box.west < 360:
                want("(lon BETWEEN ? AND ?)" if box.west <= box.east else "(lon >= ? OR lon <= ?)", box.west, box.east)
        if polygon is not None:
            west, south, east, north = shapely.bounds(polygon).tolist()
            want("lon BETWEEN ? AND ? AND lat BETWEEN ? AND ?", west, east, south, north)
        if after is not None:
            want("acquired >= ?", after)
        if before is not None:
            want("acquired < ?", before)
        if max_cloud_percent is not None:
            want("cloud_percent <= ?", max_cloud_percent)
        if countries:
            want("list_contains(?, country)", list(countries))
        # The clauses are constants of this function; whatever comes from outside is a parameter.
        text = f"SELECT * EXCLUDE ({', '.join(_HEAVY)}) FROM read_parquet(?)"  # noqa: S608
        text += f" WHERE {' AND '.join(clauses)}" if clauses else ""
        text += " ORDER BY h3_7, id"
        if limit is not None and polygon is None:
            text += " LIMIT ?"
            values.append(limit)
        table = self._fetch(text, values)
        if polygon is not None:
            inside = shapely.contains_xy(polygon, table["lon"].to_numpy(), table["lat"].to_numpy())
            table = table.filter(pa.array(inside))[: limit if limit is not None else len(table)]
        return table

    def describe(self) -> dict[str, Any]:
        """What there is: count, extent, time range, cloud histogram, sources, size on the disk in bytes."""
        row = self._fetch(
            "SELECT count(*) AS count, min(lon) AS west, min(lat) AS south, max(lon) AS east, max(lat) AS north, "
            "min(acquired) AS first, max(acquired) AS last, count(DISTINCT h3_4) AS cells_4 FROM read_parquet(?)",
            [str(self.path / ROWS)],
        ).to_pylist()[0]
        cloud = self._fetch(
            "SELECT least(floor(cloud_percent / 10), 9)::INTEGER AS decile, count(*) AS n FROM read_parquet(?) "
            "WHERE cloud_percent IS NOT NULL GROUP BY ALL ORDER BY ALL",
            [str(self.path / ROWS)],
        ).to_pylist()
        kinds = self._fetch(
            "SELECT kind, count(*) AS n FROM read_parquet(?) GROUP BY ALL ORDER BY n DESC", [str(self.path / ROWS)]
        ).to_pylist()
        size = sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())
        known = {item["decile"]: item["n"] for item in cloud}
        return {
            "name": self.path.name,
            "path": str(self.path),
            "count": row["count"],
            "extent": None if not row["count"] else [row[side] for side in ("west", "south", "east", "north")],
            "first": None if row["first"] is None else row["first"].isoformat(),
            "last": None if row["last"] is None else row["last"].isoformat(),
            "cells_of_resolution_4": row["cells_4"],
            "cloud_histogram": {f"{10 * n}–{10 * n + 10} %": known.get(n, 0) for n in range(10)} if known else {},
            "sources": {item["kind"]: item["n"] for item in kinds},
            "bytes": size,
        }

    def read(self, patch_id: str) -> Record:
        """One patch by its id: from the pixels that were kept, or from where it came.

        Raises:
            SourceError: there is no such patch, or its source is gone.
            PatchError: the source has another file there by now that cannot be read.
        """
        rows = self._fetch("SELECT * FROM read_parquet(?) WHERE id = ?", [str(self.path / ROWS), patch_id]).to_pylist()
        if not rows:
            raise SourceError(f"{self.path.name} has no patch {patch_id!r}. `samewhere data ls` shows some.")
        return self.read_row(rows[0])

    def read_row(self, row: Mapping[str, Any]) -> Record:
        """One patch by its row, as :meth:`query` gives it; without the geometry it has no footprint."""
        if row["pixels"] is None:
            return self._source(row["root"], row["address"]).read(row["address"])
        kept = self._fetch(
            "SELECT tiff FROM read_parquet(?) WHERE id = ?", [str(self.path / KEPT / row["pixels"]), row["id"]]
        ).to_pylist()
        if not kept:
            raise SourceError(f"{self.path / KEPT / row['pixels']} lacks the patch {row['id']}. Add its source anew.")
        patch = Patch(
            decode_pixels(kept[0]["tiff"], row["bands"]),
            tuple(row["bands"]),
            lonlat=(row["lon"], row["lat"]),
            gsd_m=row["gsd_m"],
            acquired=row["acquired"],
            source=row["address"],
        )
        shape = shapely.from_wkb(row.get("geometry"))
        outline = np.array(shape.exterior.coords)[:-1] if isinstance(shape, shapely.Polygon) else None
        return Record(patch, row["address"], outline, row["level"], row["cloud_percent"])

    def _source(self, root: str, address: str) -> Source:
        """The source of patches whose pixels were not kept, listed once."""
        from data.sources import open_source

        if not root:
            raise SourceError(f"{address}: neither its pixels nor its source was kept. Add it anew.")
        if root not in self._sources:
            self._sources[root] = open_source(root)
        return self._sources[root]

    def _fetch(self, text: str, values: Sequence[Any]) -> pa.Table:
        try:
            # A cursor of its own for each question, so that threads may ask at the same time.
            with self._connection.cursor() as cursor:
                return cursor.sql(text, params=list(values)).to_arrow_table()
        except duckdb.Error as error:
            raise SourceError(f"{self.path} cannot be read: {error}. Add its sources anew.") from error
