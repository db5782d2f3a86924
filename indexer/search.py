"""Search across the two modalities: images, places and combinations of them against cells and tiles.

Owns the answering of one query: its vectors, the view in which they are compared, spacing, distances. Filters act in
the store, before any vector is compared. Refuses queries that the index cannot answer, and encoders of another
checkpoint than the one that filled it.
"""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from data import atlas
from data.errors import IndexStoreError, QueryError
from data.geo import BBox, Floats, cell_to_hex, great_circle_km, unit_vectors, validate_lonlat
from indexer.ask import Asked, resolve
from indexer.encoder import EncoderPair, LocationEncoder, Part, Vectors, default_view, load_encoder
from indexer.feedback import BACKGROUND, Check, check_examples
from indexer.hits import Hit, Target
from indexer.home import default_index_path
from indexer.local import LocalStore
from indexer.milvus_address import is_milvus
from indexer.query import Query
from indexer.rows import numbers_of, row_numbers
from indexer.select import pick_spaced
from indexer.snapshot import Manifest
from indexer.store import Found, Store
from indexer.vectors import Rows
from indexer.where import Where

K_MAX = 1000
BLOCK = 65_536
"""Rows whose vectors are copied at a time."""
HALF_ROUND_KM = 20016.0
"""No two points are further apart."""


class SearchIndex:
    """An open index. Safe to use from many threads; keeps its snapshot even when the index is rebuilt meanwhile.

    Attributes:
        path: the index's directory or address.
        manifest: what it holds and what made it.
    """

    def __init__(self, store: Store, *, pair: EncoderPair | None = None) -> None:
        """Answer from a store; :meth:`open` knows the defaults."""
        self.store = store
        self.path = Path(store.where)
        self.manifest: Manifest = store.manifest
        if pair is not None:
            self.manifest.check_checkpoint(pair.name, pair.fingerprint, index=store.where)
        self._lock = threading.RLock()
        self._tile_points: Any = None
        self._asked: tuple[Query, str | None, Asked] | None = None
        self._checkpoint: str = self.manifest.checkpoint["name"]
        self._encoder: LocationEncoder | None = pair
        self._pair_loaded = pair

    @classmethod
    def open(
        cls,
        path: str | Path | None = None,
        *,
        pair: EncoderPair | None = None,
        checkpoint: str | None = None,
        name: str | None = None,
    ) -> SearchIndex:
        """Open an index.

        Args:
            path: its directory; the embedded index when None. Or an address in an object store, as
                ``s3://bucket/world``: that is copied to this machine first. Or one of Milvus, as
                ``milvus:///folder/world.db`` or ``milvus://host:19530``: only the light columns are.
            pair: encoders for queries, when they are loaded already.
            checkpoint: name of the checkpoint to ask with. With neither, the one that built the index is loaded
                when a query first needs it, and of it only the part that is needed.
            name: of the snapshot, where a directory keeps several.

        Raises:
            IndexStoreError: the index is missing, half written, damaged, of another version or of another checkpoint.
            CheckpointError: ``checkpoint`` cannot be loaded.
            MissingDependencyError: FAISS, or what the store needs, is not installed.
        """
        store = open_store(path, name=name)
        try:
            index = cls(store, pair=pair)
            if pair is None and checkpoint is not None:
                index._checkpoint = checkpoint
                index._location()
        except BaseException:
            store.close()  # an embedded Milvus would stay locked
            raise
        return index

    def close(self) -> None:
        """Let go of the snapshot, which a job may remove then, and of connections. Ask nothing afterwards."""
        self.store.close()

    @property
    def views(self) -> tuple[str, ...]:
        """The views that a query may take; of imported vectors the only one is ``both``."""
        return ("both",) if self._imported else tuple(self._location().views)

    @property
    def _imported(self) -> bool:
        return bool(self.manifest.checkpoint.get("imported"))

    def cells(self) -> pa.Table:
        """Every cell: ``id`` uint64, ``key``, ``lon``, ``lat``, ``parent_0`` … ``parent_3``, ``country``, ….

        Rows ascend by ``key``; cells of one resolution ascend by id.
        """
        return self.store.table("cells")

    def tiles(self) -> pa.Table:
        """Every tile: ``id`` text, and beside the columns of :meth:`cells` its ``source``, ``acquired``, …."""
        return self.store.table("tiles")

    def thumbnail(self, tile_id: str) -> bytes:
        """A tile's picture as JPEG; empty for imported tiles without one.

        Raises:
            QueryError: the index holds no such tile.
        """
        return self.store.thumbnail(self._tile_row(tile_id))

    def nearest_tile(self, lonlat: ArrayLike) -> list[str]:
        """Id of the tile whose centre is nearest to each of (N, 2) points in degrees.

        Raises:
            QueryError: the index holds no tiles.
        """
        self._need_tiles()
        from scipy.spatial import cKDTree  # a tenth of a second that a search does not need

        table = self.tiles()
        with self._lock:
            if self._tile_points is None:
                self._tile_points = cKDTree(unit_vectors(_lonlat(table)))
        _, rows = self._tile_points.query(unit_vectors(validate_lonlat(lonlat)))
        return [str(name) for name in table["id"].take(row_numbers(rows)).to_pylist()]

    def query_vector(self, query: Query) -> Vectors:
        """A place's, image's, tile's or cell's embedding, (D,) float32 of unit length, before any view weights it.

        Raises:
            QueryError: the tile is not in the index.
            PatchError: the checkpoint cannot see this image.
        """
        if query.kind in ("tile", "cell"):
            return self._stored("tiles" if query.kind == "tile" else "cells", query.id or "")
        if query.kind == "image":
            return np.asarray(self._encode_image([query.patch])[0])
        if query.kind == "place":
            return np.asarray(self._encode_place(np.array([query.lonlat]))[0])
        if query.kind == "vector":
            return np.array(query.vector, dtype=np.float32)
        raise QueryError(f"A query of the kind {query.kind} has no single vector of its own.")

    def field(self, query: Query, *, view: str | None = None) -> Vectors:
        """The score of every cell: (n_cells,) float32, aligned with :meth:`cells`. Always exact.

        Raises:
            QueryError: the query cannot be answered, or there is no such view.
        """
        asked = self._ask(query, view)
        return asked.score(self.store.scores("cells", asked.vectors))

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
        where: Where | None = None,
        view: str | None = None,
    ) -> list[Hit]:
        """The places or tiles that resemble the query most, best first.

        Args:
            query: what to look for. A tile never answers itself.
            k: how many hits, 1…1000; fewer come back when fewer rows pass the filters.
            target: search ``cells`` or ``tiles``.
            min_km: least distance of a hit from the query's places.
            spacing_km: least distance between two hits; of two nearer ones the better stays.
            bbox: only hits inside.
            countries: only hits in any of these, by ISO 3166 alpha-3 code or name.
            where: any further filters.
            view: how to compare, one of the checkpoint's views; by default what suits the kind of query.

        Raises:
            QueryError: an argument is out of range, or the query cannot be answered.
        """
        return self.explain(
            query,
            k=k,
            target=target,
            min_km=min_km,
            spacing_km=spacing_km,
            bbox=bbox,
            countries=countries,
            where=where,
            view=view,
        )[0]

    def explain(
        self,
        query: Query,
        *,
        k: int = 10,
        target: Target = "cells",
        min_km: float = 0.0,
        spacing_km: float = 0.0,
        bbox: BBox | None = None,
        countries: Sequence[str] | None = None,
        where: Where | None = None,
        view: str | None = None,
    ) -> tuple[list[Hit], tuple[str, ...]]:
        """As :meth:`search`, and how the answer was found, a sentence a step."""
        if target not in get_args(Target):
            raise QueryError(f"target {target!r} is unknown; choose cells or tiles.")
        if target == "tiles" or query.kind == "tile":
            self._need_tiles()
        if target == "cells" and not self.manifest.counts["cells"]:
            raise QueryError(f"The index at {self.store.where} holds no cells, only tiles. Search tiles.")
        if not (isinstance(k, (int, np.integer)) and 1 <= k <= K_MAX):
            raise QueryError(f"k is {k!r}; ask for a whole number of hits from 1 to {K_MAX}.")
        for name, value in (("min_km", min_km), ("spacing_km", spacing_km)):
            if not (math.isfinite(value) and 0 <= value <= HALF_ROUND_KM):
                raise QueryError(f"{name} is {value:g}; a distance on the Earth is between 0 and {HALF_ROUND_KM:g} km.")
        asked = self._ask(query, view)
        places = list(dict.fromkeys(asked.places))
        if min_km > 0 and not places:
            raise QueryError(
                f"A least distance of {min_km:g} km from the query was asked for, but where the image was taken is not "
                "known. Leave it out, or use an image with coordinates (a GeoTIFF)."
            )
        # One place is kept away from by the store, which reads fewer rows then; any others, and all of them where the
        # caller's own filter keeps away from another, by going down the ranking.
        near = places if min_km > 0 else []
        beyond = (near[0], min_km) if near and (where is None or where.beyond is None) else None
        wanted = self._filter(where or Where(), bbox, countries, beyond)
        wanted = dataclasses.replace(wanted, not_ids=(*wanted.not_ids, *asked.own_ids(target)))
        others = near[1:] if beyond is not None else near
        found = self._spaced(target, asked, int(k), wanted, others, min_km, spacing_km)
        return self._hits(target, found, asked, places), found.plan

    def check(self, query: Query, *, view: str | None = None) -> Check | None:
        """How a query of examples ranks examples that are held out; None where there are too few.

        Raises:
            QueryError: the query is of another kind, or cannot be answered.
        """
        if query.kind != "examples":
            raise QueryError(f"Only a query of examples can be checked, and this is one of the kind {query.kind}.")
        chosen = view or default_view("examples", self.views)
        liked = [self.query_vector(leaf) for sign, leaf in query.leaves() if sign > 0]
        unliked = [self.query_vector(leaf) for sign, leaf in query.leaves() if sign < 0]
        background = self._background(BACKGROUND, query.seed + 1)
        return check_examples(
            np.stack(liked),
            np.stack(unliked) if unliked else background[:0],
            background,
            lambda vectors: self._reweight(vectors, chosen),
        )

    def mean_vector(self, where: Where) -> Vectors | None:
        """The mean direction of the cells that pass a filter, (D,) float32 of unit length; None where none does."""
        rows = self.store.select("cells", where)
        numbers = np.arange(self.manifest.counts["cells"]) if rows is None else rows.rows()
        if not len(numbers):
            return None
        blocks = (numbers[start : start + BLOCK] for start in range(0, len(numbers), BLOCK))
        mean = sum(self.store.vectors("cells", block).sum(axis=0, dtype=np.float64) for block in blocks) / len(numbers)
        length = float(np.linalg.norm(mean))
        return (mean / length).astype(np.float32) if length > 0 else None

    @property
    def encoder(self) -> LocationEncoder:
        """The encoder of places, loaded at the first need.

        Raises:
            QueryError: the index's vectors were imported.
        """
        return self._location()

    def _filter(
        self,
        where: Where,
        bbox: BBox | None,
        countries: Sequence[str] | None,
        beyond: tuple[tuple[float, float], float] | None,
    ) -> Where:
        """All filters of a search in one."""
        if bbox is not None and where.bbox is not None:
            raise QueryError("Two bounding boxes were given, one of them within where; give one.")
        if countries is not None and where.countries is not None:
            raise QueryError("Countries were given twice, once within where; give them once.")
        named = where.countries if countries is None else countries
        codes = None if named is None else tuple(atlas.country_code(name) for name in named)
        return dataclasses.replace(
            where, bbox=bbox or where.bbox, countries=codes, beyond=beyond if beyond is not None else where.beyond
        )

    def _spaced(
        self,
        target: Target,
        asked: Asked,
        k: int,
        where: Where,
        others: Sequence[tuple[float, float]],
        min_km: float,
        spacing_km: float,
    ) -> Found:
        """The k best rows, far enough from the query's other places and from each other.

        Looks down a ranking that grows until k are found or no row is left. A choice depends only on better rows, so
        the answer is that of the full ranking.
        """

        def best(n: int) -> Found:
            return self.store.search(target, asked.vectors, n, where=where, view=asked.view)

        if spacing_km <= 0 and not others:
            return best(k)
        wanted = 64 * k
        while True:
            found = best(wanted)
            lonlat = _lonlat(self.store.take(target, found.rows))
            free = np.ones(len(lonlat), dtype=bool)
            for place in others:
                free &= great_circle_km(lonlat, place) >= min_km
            rows = np.flatnonzero(free)
            chosen = rows[pick_spaced(lonlat[rows], k, spacing_km)] if spacing_km > 0 else rows[:k]
            if len(chosen) == k or len(found.rows) < wanted:
                return Found(found.rows[chosen], found.scores[chosen], found.plan)
            wanted *= 8

    def _hits(self, target: Target, found: Found, asked: Asked, places: Sequence[tuple[float, float]]) -> list[Hit]:
        table = self.store.take(target, found.rows)
        lonlat = _lonlat(table)
        kms: list[float | None] = [None] * len(table)
        if places:
            kms = np.min([great_circle_km(lonlat, place) for place in places], axis=0).tolist()
        ids = cell_to_hex(numbers_of(table["id"])) if target == "cells" else table["id"].to_pylist()
        sources = table["source"].to_pylist() if target == "tiles" else [""] * len(table)
        columns = zip(
            ids,
            lonlat.tolist(),
            asked.score(found.scores).tolist(),
            kms,
            table["country"].to_pylist(),
            sources,
            strict=True,
        )
        return [
            Hit(rank, name, lon, lat, score, km, country, target, source)
            for rank, (name, (lon, lat), score, km, country, source) in enumerate(columns, start=1)
        ]

    def _ask(self, query: Query, view: str | None) -> Asked:
        """The query's vectors as its views weight them."""
        if view is not None and view not in self.views:
            raise QueryError(f"view {view!r} is unknown; this checkpoint has: {', '.join(self.views)}.")
        kept = self._asked
        if kept is not None and kept[0] is query and kept[1] == view:  # hits first, then the field, of one query
            return kept[2]
        asked = self._resolve(query, view)
        self._asked = (query, view, asked)
        return asked

    def _resolve(self, query: Query, view: str | None) -> Asked:
        return resolve(
            query,
            encode_place=self._encode_place,
            encode_image=self._encode_image,
            stored=self._stored,
            tile_place=self.place_of_tile,
            background=self._background,
            reweight=self._reweight,
            default_view=lambda kind: default_view(kind, self.views),
            fingerprint=self.manifest.checkpoint["fingerprint"],
            view=view,
        )

    def _encode_place(self, lonlat: Floats) -> Vectors:
        return self._location().encode_location(lonlat)

    def _encode_image(self, patches: Sequence[Any]) -> Vectors:
        return self._pair().encode_image(list(patches))

    def _reweight(self, vectors: Vectors, view: str) -> Vectors:
        return vectors if self._imported else self._location().reweight(vectors, view)

    def _stored(self, kind: Target, name: str) -> Vectors:
        """The vector of a stored tile or cell, (D,)."""
        row = self._tile_row(name) if kind == "tiles" else self._cell_row(name)
        return np.asarray(self.store.vectors(kind, [row])[0])

    def place_of_tile(self, name: str) -> tuple[float, float]:
        """Where a stored tile lies, in degrees.

        Raises:
            QueryError: the index holds no such tile.
        """
        lon, lat = _lonlat(self.store.take("tiles", [self._tile_row(name)]))[0].tolist()
        return lon, lat

    def _background(self, n: int, seed: int) -> Vectors:
        """Vectors of n rows drawn at random: cells, or tiles where there are none."""
        kind = "cells" if self.manifest.counts["cells"] else "tiles"
        count = self.manifest.counts[kind]
        rows: Rows = np.sort(np.random.default_rng(seed).choice(count, min(n, count), replace=False)).astype(np.int64)
        return self.store.vectors(kind, rows)

    def _tile_row(self, name: str) -> int:
        self._need_tiles()
        row = self.store.rows_of("tiles", [name])[0]
        if row is None:
            raise QueryError(
                f"The index at {self.store.where} has no tile {name}. A search among the tiles shows some."
            )
        return row

    def _cell_row(self, name: str) -> int:
        row = self.store.rows_of("cells", [name])[0]
        if row is None:
            raise QueryError(
                f"The index at {self.store.where} has no cell {name}. A search among the cells shows some."
            )
        return row

    def _need_tiles(self) -> None:
        if not self.manifest.counts["tiles"]:
            raise QueryError(
                f"The index at {self.store.where} holds no tiles: it was built without a dataset, and of the Blue "
                "Marble, which not every image encoder sees, no tile lies in its area. Search cells, with a place or "
                "an image, or add a dataset."
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
        if self._imported:
            raise QueryError(
                f"The vectors at {self.store.where} were imported from {self.manifest.checkpoint['name']}; no encoder "
                "for them is here. Ask with a tile of the index, or with a vector of that model."
            )
        encoder = load_encoder(self._checkpoint, part)
        self.manifest.check_checkpoint(encoder.name, encoder.fingerprint, index=self.store.where)
        return encoder


def open_store(path: str | Path | None = None, *, name: str | None = None) -> Store:
    """The store at a path or an address; see :meth:`SearchIndex.open`."""
    text = str(path) if path is not None else ""
    if is_milvus(text):
        from indexer.milvus import MilvusStore

        if name is not None:
            raise IndexStoreError(
                f"{text} keeps one index. Leave the name out, or write it behind the address: /{name}."
            )
        return MilvusStore(text)
    if "://" in text:
        from indexer.remote import cache_of, fetch

        if name is not None:
            raise IndexStoreError(f"{text} keeps one index, none called {name!r}. Leave the name out.")
        return LocalStore(fetch(text, cache_of(text)))
    return LocalStore(Path(path) if path is not None else default_index_path(), name=name)


def _lonlat(table: pa.Table) -> Floats:
    return np.stack([numbers_of(table["lon"]), numbers_of(table["lat"])], axis=1)
