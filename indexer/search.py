"""Search across the two modalities: images and places against cells and tiles.

Owns the answering of one query: its vector, the view in which it is compared, filters, ranking, distances. Filters say
which rows may be answered before any vector is compared. Refuses queries that the index cannot answer, and
encoders of another checkpoint than the one that filled it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from data import atlas
from data.errors import IndexStoreError, QueryError
from data.geo import BBox, Cells, Floats, cell_to_hex, great_circle_km, hex_to_cell, unit_vectors, validate_lonlat
from indexer.catalogue import read_catalogue
from indexer.encoder import EncoderPair, LocationEncoder, Part, Vectors, default_view, load_encoder
from indexer.files import disk_errors
from indexer.hits import Hit, Target
from indexer.home import default_index_path
from indexer.query import Query
from indexer.select import allowed_rows, search_spaced
from indexer.snapshot import KINDS, POINTER, Manifest, check_files, current_snapshot
from indexer.vectors import VectorIndex

K_MAX = 1000
HALF_ROUND_KM = 20016.0
"""No two points are further apart."""


class _Rows:
    """One kind of rows, ready to be searched: light columns in memory (a few MB), vectors mapped from disk."""

    def __init__(self, directory: Path, kind: str, table: pa.Table, dim: int) -> None:
        self.table = table
        self.ids: Cells = table["id"].to_numpy()
        self.lonlat: Floats = np.stack([table["lon"].to_numpy(), table["lat"].to_numpy()], axis=1)
        self.country: NDArray[np.str_] = np.array(table["country"].to_pylist(), dtype="U3")
        self.vectors = VectorIndex(directory / f"{kind}.faiss", count=len(table), dim=dim)

    def row_of(self, cell: int) -> int | None:
        """Row number of an id; ids ascend."""
        row = int(np.searchsorted(self.ids, np.uint64(cell)))
        return row if row < len(self.ids) and int(self.ids[row]) == cell else None


class SearchIndex:
    """An open snapshot. Safe to use from many threads; keeps its files even when the index is rebuilt meanwhile.

    Attributes:
        path: the index's directory.
        manifest: what it holds and what made it.
    """

    def __init__(self, path: Path, *, pair: EncoderPair | None = None) -> None:
        """Open the current snapshot of the index at ``path``; :meth:`open` knows the defaults."""
        self.path = path
        self._lock = threading.RLock()
        with disk_errors(path, "Opening the index at"):
            directory = current_snapshot(path)
            self.manifest = Manifest.read(directory, index=path)
            check_files(directory, self.manifest, index=path)
            if pair is not None:
                self.manifest.check_checkpoint(pair.name, pair.fingerprint, index=path)
            tables = read_catalogue(directory)
            dim = self.manifest.checkpoint["dim"]
            self._rows = {kind: _Rows(directory, kind, tables[kind], dim) for kind in KINDS}
            self._tile_file = pq.ParquetFile(directory / "tiles.parquet", memory_map=True)
        for kind in KINDS:
            if len(tables[kind]) != self.manifest.counts[kind]:
                raise IndexStoreError(
                    f"{directory}: the catalogue holds {len(tables[kind])} {kind}, the manifest promises "
                    f"{self.manifest.counts[kind]}. Rebuild the index."
                )
        self._tile_points = unit_vectors(self._rows["tiles"].lonlat)
        self._checkpoint: str = self.manifest.checkpoint["name"]
        self._encoder: LocationEncoder | None = pair
        self._pair_loaded = pair

    @classmethod
    def open(
        cls, path: str | Path | None = None, *, pair: EncoderPair | None = None, checkpoint: str | None = None
    ) -> SearchIndex:
        """Open an index.

        Args:
            path: its directory; the embedded index when None.
            pair: encoders for queries, when they are loaded already.
            checkpoint: name of the checkpoint to ask with. With neither, the one that built the index is loaded
                when a query first needs it, and of it only the part that is needed.

        Raises:
            IndexStoreError: the index is missing, half written, damaged, of another version or of another checkpoint.
            CheckpointError: ``checkpoint`` cannot be loaded.
            MissingDependencyError: FAISS is not installed.
        """
        place = Path(path) if path is not None else default_index_path()
        try:
            index = cls(place, pair=pair)
        except IndexStoreError:
            if not (place / POINTER).is_file():
                raise
            index = cls(place, pair=pair)  # a build may have switched snapshots after we had read the old one's name
        if pair is None and checkpoint is not None:
            index._checkpoint = checkpoint
            index._location()
        return index

    @property
    def views(self) -> tuple[str, ...]:
        """The views that a query may take."""
        return tuple(self._location().views)

    def cells(self) -> pa.Table:
        """Every cell: ``id`` uint64 ascending, ``lon``, ``lat``, ``parent_0`` … ``parent_3``, ``country``."""
        return self._rows["cells"].table

    def tiles(self) -> pa.Table:
        """Every tile, with the columns of :meth:`cells`."""
        return self._rows["tiles"].table

    def thumbnail(self, tile_id: str) -> bytes:
        """A tile's picture as JPEG.

        Raises:
            CoordinateError: the text is not an H3 cell id.
            QueryError: the index holds no such tile.
        """
        row = self._tile_row(hex_to_cell(tile_id))
        with self._lock, disk_errors(self.path, "Reading a thumbnail in"):  # Parquet readers are not for two threads
            for group in range(self._tile_file.num_row_groups):
                size = self._tile_file.metadata.row_group(group).num_rows
                if row < size:
                    column = self._tile_file.read_row_group(group, columns=["thumbnail"])["thumbnail"]
                    return bytes(column[row].as_py())
                row -= size
        raise IndexStoreError(f"The row files at {self.path} do not fit their catalogue. Rebuild the index.")

    def nearest_tile(self, lonlat: ArrayLike) -> list[str]:
        """Hex id of the tile whose centre is nearest to each of (N, 2) points in degrees.

        Raises:
            QueryError: the index holds no tiles.
        """
        self._need_tiles()
        rows = np.argmax(unit_vectors(validate_lonlat(lonlat)) @ self._tile_points.T, axis=1)
        return cell_to_hex(self._rows["tiles"].ids[rows])

    def query_vector(self, query: Query) -> Vectors:
        """The query's embedding, (D,) float32 of unit length, before any view weights it.

        Raises:
            QueryError: the tile is not in the index.
            PatchError: the checkpoint cannot see this image.
        """
        if query.kind == "tile":
            return self._rows["tiles"].vectors.row(self._tile_row(query.tile_id or 0))
        if query.kind == "image":
            return np.asarray(self._pair().encode_image(query.patch)[0])
        return np.asarray(self._location().encode_location(np.array([query.lonlat]))[0])

    def field(self, query: Query, *, view: str | None = None) -> Vectors:
        """The score of every cell: (n_cells,) float32, aligned with :meth:`cells`. Always exact.

        Raises:
            QueryError: the query cannot be answered, or there is no such view.
        """
        return self._rows["cells"].vectors.scores(self._weighted(query, view))

    def search(
        self,
        query: Query,
        *,
        k: int = 10,
        target: Target = "cells",
        min_km: float = 0.0,
        spacing_km: float = 0.0,
        bbox: BBox | None = None,
        countries: Sequence[str] | None = None,
        view: str | None = None,
    ) -> list[Hit]:
        """The places or tiles that resemble the query most, best first.

        Args:
            query: what to look for. A tile never answers itself.
            k: how many hits, 1…1000; fewer come back when fewer rows pass the filters.
            target: search ``cells`` or ``tiles``.
            min_km: least distance of a hit from the query's place.
            spacing_km: least distance between two hits; of two nearer ones the better stays.
            bbox: only hits inside.
            countries: only hits in any of these, by ISO 3166 alpha-3 code or name.
            view: how to compare, one of the checkpoint's views; by default what suits the kind of query.

        Raises:
            QueryError: an argument is out of range, or the query cannot be answered.
        """
        if target not in get_args(Target):
            raise QueryError(f"target {target!r} is unknown; choose cells or tiles.")
        if target == "tiles" or query.kind == "tile":
            self._need_tiles()
        if not (isinstance(k, (int, np.integer)) and 1 <= k <= K_MAX):
            raise QueryError(f"k is {k!r}; ask for a whole number of hits from 1 to {K_MAX}.")
        for name, value in (("min_km", min_km), ("spacing_km", spacing_km)):
            if not (math.isfinite(value) and 0 <= value <= HALF_ROUND_KM):
                raise QueryError(f"{name} is {value:g}; a distance on the Earth is between 0 and {HALF_ROUND_KM:g} km.")
        place = self._place(query)
        if min_km > 0 and place is None:
            raise QueryError(
                f"A least distance of {min_km:g} km from the query was asked for, but where the image was taken is not "
                "known. Leave it out, or use an image with coordinates (a GeoTIFF)."
            )
        rows = self._rows[target]
        codes = None if countries is None else [atlas.country_code(name) for name in countries]
        beyond = (place, min_km) if place is not None and min_km > 0 else None
        among = allowed_rows(rows.lonlat, rows.country, bbox=bbox, countries=codes, beyond=beyond)
        if query.kind == "tile" and target == "tiles":
            among = np.ones(len(rows.ids), dtype=bool) if among is None else among
            among[self._tile_row(query.tile_id or 0)] = False
        vector = self._weighted(query, view)
        found, scores = search_spaced(
            lambda n: rows.vectors.search(vector, n, among=among), rows.lonlat, int(k), spacing_km=spacing_km
        )
        kms = great_circle_km(rows.lonlat[found], place).tolist() if place is not None else [None] * len(found)
        return [
            Hit(rank, cell, lon, lat, score, km, country, target)
            for rank, (cell, (lon, lat), score, km, country) in enumerate(
                zip(
                    cell_to_hex(rows.ids[found]),
                    rows.lonlat[found].tolist(),
                    scores.tolist(),
                    kms,
                    rows.country[found].tolist(),
                    strict=True,
                ),
                start=1,
            )
        ]

    def _tile_row(self, cell: int) -> int:
        row = self._rows["tiles"].row_of(cell)
        if row is None:
            resolution = self.manifest.parameters["tile_resolution"]
            raise QueryError(
                f"The index at {self.path} has no tile {cell:x}. Its tiles are H3 cells of resolution {resolution} on "
                "land; a search among the tiles shows some."
            )
        return row

    def _place(self, query: Query) -> tuple[float, float] | None:
        """Where the query lies, in degrees."""
        if query.kind == "tile":
            lon, lat = self._rows["tiles"].lonlat[self._tile_row(query.tile_id or 0)].tolist()
            return lon, lat
        return query.lonlat

    def _weighted(self, query: Query, view: str | None) -> Vectors:
        """The query's vector as the view weights it, (D,)."""
        views = self.views
        if view is not None and view not in views:
            raise QueryError(f"view {view!r} is unknown; this checkpoint has: {', '.join(views)}.")
        vector = self.query_vector(query)
        return np.asarray(self._location().reweight(vector[None], view or default_view(query.kind, views))[0])

    def _need_tiles(self) -> None:
        if not len(self._tile_points):
            raise QueryError(
                f"The index at {self.path} holds no tiles: the image encoder of {self.manifest.checkpoint['name']} "
                "cannot see the Blue Marble, of which tiles are cut. Search cells, with a place or an image."
            )

    def _location(self) -> LocationEncoder:
        """The encoder of places, loaded at the first need."""
        with self._lock:
            if self._encoder is None:
                self._encoder = self._load("location")
            return self._encoder

    def _pair(self) -> EncoderPair:
        """Both encoders, loaded at the first need."""
        with self._lock:
            if self._pair_loaded is None:
                self._encoder = self._pair_loaded = self._load("pair")
            return self._pair_loaded

    def _load(self, part: Part) -> EncoderPair:
        encoder = load_encoder(self._checkpoint, part)
        self.manifest.check_checkpoint(encoder.name, encoder.fingerprint, index=self.path)
        return encoder
