"""What an index is filled with: cells of the land, tiles of the Blue Marble, tiles of datasets.

Owns what rows each source asks for and what a row is made of. A source first says which rows it wants, without reading
a pixel: ids, keys and a hash of each row's content. So a plan costs next to nothing, and a row that stands in an older
snapshot with the same content need not be embedded again. A row depends on its id, the checkpoint and the parameters
and on nothing else, so it may be made again, anywhere, with the same bytes.
"""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from data import atlas
from data.blue_marble import BlueMarble
from data.bridge import footprint_km
from data.catalogue import Catalogue, dataset_path
from data.display import picture
from data.errors import CheckpointError, IndexStoreError, SamewhereError
from data.geo import BBox, Cells, cell_children, cell_key, cell_lonlat, cell_of, cell_to_hex, hex_to_cell
from data.ingest import ROWS
from data.land import land_cells
from indexer.encoder import EncoderPair
from indexer.rows import TILE_KEY_RESOLUTION, make_rows, sort_rows

BLUE_MARBLE = "blue-marble"
THUMBNAIL_PX = 64
"""Twice the pixels that the encoder sees on a side: north of 60° the picture has them, and galleries look better."""
JPEG_QUALITY = 88
READERS = 4
"""Threads that read patches ahead of the encoder."""
BATCH = 64
"""Patches of a dataset in memory at a time: 200 MB of 12 bands."""


@dataclass(frozen=True)
class BuildParameters:
    """What is to be built; stored with the index.

    Attributes:
        cell_resolution: H3 resolution of the cells that the location encoder embeds.
        tile_resolution: H3 resolution of the cells at whose centres tiles of the Blue Marble are cut.
        antarctica: whether land south of 60° S counts.
        tile_footprint_km: side of such a tile on the ground; None where the checkpoint can see no Blue Marble, and the
            index has none of them.
        sources: of tiles: ``blue-marble`` and names of datasets.
        fine_resolution: of the cells that stand where tiles of datasets are dense, in place of the coarse one.
        dense: so many tiles in a coarse cell are dense.
        bbox: west, south, east, north in degrees: only rows whose centres lie inside; None for the whole Earth.
        countries: ISO 3166 alpha-3: only rows whose centres lie in any of these; None for the whole Earth.
        method: of searching, one of :data:`indexer.ann.METHODS`, or ``auto``: by the number of rows.
    """

    cell_resolution: int
    tile_resolution: int
    antarctica: bool
    tile_footprint_km: float | None
    sources: tuple[str, ...] = (BLUE_MARBLE,)
    fine_resolution: int | None = None
    dense: int = 3
    thumbnail_px: int = THUMBNAIL_PX
    jpeg_quality: int = JPEG_QUALITY
    bbox: tuple[float, float, float, float] | None = None
    method: str = "auto"
    countries: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse fine cells that are coarser than the coarse ones, by far too many, and no tiles that are dense."""
        if self.fine_resolution is not None and not 0 < self.fine_resolution - self.cell_resolution <= 4:
            raise IndexStoreError(
                f"Fine cells of resolution {self.fine_resolution} do not fit cells of {self.cell_resolution}: choose "
                f"one to four steps finer, {self.cell_resolution + 1}…{self.cell_resolution + 4}."
            )
        if self.dense < 1:
            raise IndexStoreError(f"{self.dense} tiles in a cell cannot be dense; give 1 or more.")
        if self.bbox is not None:
            object.__setattr__(self, "bbox", tuple(map(float, self.bbox)))  # JSON knows lists only
        if self.countries is not None:
            object.__setattr__(self, "countries", tuple(self.countries))

    def covers(self, lonlat: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of (N, 2) degrees lie in the area."""
        inside = np.ones(len(lonlat), dtype=np.bool_)
        if self.bbox is not None and len(lonlat):
            inside = BBox(*self.bbox).contains(lonlat)
        if self.countries is not None and inside.any():
            inside[inside] = np.isin(atlas.country_of(lonlat[inside]), self.countries)
        return inside


@dataclass(frozen=True)
class Wanted:
    """The rows that a source asks for, in the order of an index.

    Attributes:
        ids: (N,) uint64 cells, or text of tiles.
        keys: (N,) uint64, ascending.
        content: (N,) text: a row of the same id and content has the same bytes.
    """

    ids: NDArray[Any]
    keys: Cells
    content: NDArray[np.str_]


Failed = list[tuple[str, str]]
"""Ids of rows that could not be made, each with the reason."""


class RowSource(Protocol):
    """One source of rows.

    Attributes:
        name: ``cells``, ``blue-marble`` or that of a dataset.
        kind: of its rows.
    """

    name: str
    kind: str

    def wanted(self) -> Wanted:
        """Which rows there are to be."""

    def make(self, ids: Sequence[Any] | NDArray[Any], pair: EncoderPair) -> tuple[pa.Table, Failed]:
        """Make some of these rows, and tell which could not be made."""


class CellSource:
    """Land cells, by the location encoder."""

    name = kind = "cells"

    def __init__(self, parameters: BuildParameters) -> None:
        """Take what says which cells."""
        self._parameters = parameters

    def wanted(self) -> Wanted:
        """The coarse cells, and the children of those where tiles are dense."""
        chosen = self._parameters
        ids = land_cells(chosen.cell_resolution, antarctica=chosen.antarctica)
        if chosen.fine_resolution is not None:
            places = [_places(name) for name in chosen.sources if name != BLUE_MARBLE]
            at = cell_of(np.concatenate([np.empty((0, 2)), *places]), chosen.cell_resolution)
            crowded, counts = np.unique(at, return_counts=True)
            crowded = crowded[counts >= chosen.dense]
            ids = np.concatenate([ids[~np.isin(ids, crowded)], _children(crowded, chosen.fine_resolution)])
            ids = ids[sort_rows(cell_key(ids), ids)]
        ids = ids[chosen.covers(cell_lonlat(ids))]
        return Wanted(ids, cell_key(ids), np.full(len(ids), "", dtype="U1"))

    def make(self, ids: Sequence[Any] | NDArray[Any], pair: EncoderPair) -> tuple[pa.Table, Failed]:
        """Embed the cells' centres."""
        cells = np.asarray(ids, dtype=np.uint64)
        lonlat = cell_lonlat(cells)
        return make_rows("cells", cells, lonlat=lonlat, vectors=_sound(pair, pair.encode_location(lonlat))), []


class MarbleSource:
    """Tiles cut out of the Blue Marble at the centres of land cells, by the image encoder."""

    name, kind = BLUE_MARBLE, "tiles"

    def __init__(self, parameters: BuildParameters) -> None:
        """Take what says which cells, and how large the tiles are."""
        self._parameters = parameters

    def wanted(self) -> Wanted:
        """One tile a cell; none where the checkpoint cannot see the Blue Marble."""
        chosen = self._parameters
        sees = chosen.tile_footprint_km is not None
        ids = land_cells(chosen.tile_resolution, antarctica=chosen.antarctica) if sees else np.empty(0, dtype=np.uint64)
        ids = ids[chosen.covers(cell_lonlat(ids))]
        recipe = f"{BLUE_MARBLE} {chosen.tile_footprint_km} km, {chosen.thumbnail_px} px, {chosen.jpeg_quality}"
        content = hashlib.sha256(recipe.encode()).hexdigest()[:32]
        return Wanted(np.array(cell_to_hex(ids), dtype=object), cell_key(ids), np.full(len(ids), content))

    def make(self, ids: Sequence[Any] | NDArray[Any], pair: EncoderPair) -> tuple[pa.Table, Failed]:
        """Cut and embed tiles."""
        cells = np.array([hex_to_cell(text) for text in ids], dtype=np.uint64)
        lonlat, side_km = cell_lonlat(cells), self._parameters.tile_footprint_km
        marble = BlueMarble.open()
        vectors = _sound(pair, pair.encode_image(marble.cut(lonlat, footprint_km=side_km or 0.0), footprint_km=side_km))
        parts = np.array_split(lonlat, -(-len(lonlat) // 32))  # that few at a time fit the cache: 3 times faster
        size_px = self._parameters.thumbnail_px
        thumbnails = [
            jpeg(tile, self._parameters.jpeg_quality)
            for part in parts
            for tile in marble.cut(part, size_px=size_px, footprint_km=side_km or 0.0)
        ]
        columns: dict[str, list[Any]] = {
            "source": [self.name] * len(cells),
            "content": [str(self.wanted_content)] * len(cells),
            "footprint_km": [side_km] * len(cells),
            "thumbnail": thumbnails,
        }
        return make_rows("tiles", list(ids), lonlat=lonlat, vectors=vectors, cells=cells, columns=columns), []

    @functools.cached_property
    def wanted_content(self) -> str:
        """The content hash of every tile."""
        content = self.wanted().content
        return str(content[0]) if len(content) else ""


class DatasetSource:
    """The patches of a dataset, by the image encoder."""

    kind = "tiles"

    def __init__(self, name: str, parameters: BuildParameters) -> None:
        """Open a dataset.

        Raises:
            SourceError: there is none of this name.
        """
        self.name = name
        self._parameters = parameters
        self._catalogue = Catalogue.open(name)

    def wanted(self) -> Wanted:
        """Every patch; its id is the hash of its pixels already."""
        table = self._catalogue.query()
        table = table.filter(pa.array(self._parameters.covers(_lonlat(table))))
        ids = np.array(table["id"].to_pylist(), dtype=object)
        keys = cell_key(cell_of(_lonlat(table), TILE_KEY_RESOLUTION)) if len(ids) else np.empty(0, dtype=np.uint64)
        order = sort_rows(keys, ids)
        recipe = f" {self._parameters.thumbnail_px} px, {self._parameters.jpeg_quality}"
        content = np.array([hashlib.sha256((text + recipe).encode()).hexdigest()[:32] for text in ids[order].tolist()])
        return Wanted(ids[order], keys[order], content.astype("U32"))

    @functools.cached_property
    def _rows(self) -> dict[str, dict[str, Any]]:
        """Rows of the dataset by id."""
        return {row["id"]: row for row in self._catalogue.query().to_pylist()}

    @functools.cached_property
    def _content(self) -> dict[str, str]:
        """Content hashes by id."""
        wanted = self.wanted()
        return dict(zip(wanted.ids.tolist(), wanted.content.tolist(), strict=True))

    def make(self, ids: Sequence[Any] | NDArray[Any], pair: EncoderPair) -> tuple[pa.Table, Failed]:
        """Read and embed patches. One that cannot be read or seen costs itself alone."""
        names: list[str] = [str(name) for name in ids]
        made: list[pa.Table] = []
        failed: Failed = []
        with ThreadPoolExecutor(READERS) as readers:
            for start in range(0, len(names), BATCH):
                some = names[start : start + BATCH]
                rows, patches = [], []
                for name, patch in zip(some, readers.map(self._read, some), strict=True):
                    if isinstance(patch, SamewhereError):
                        failed.append((name, str(patch)))
                    else:
                        rows.append(self._rows[name])
                        patches.append(patch)
                if patches:
                    made.append(self._embed(rows, patches, pair, failed))
        empty = np.empty((0, pair.dim), dtype=np.float32)
        nothing = make_rows("tiles", [], lonlat=np.empty((0, 2)), vectors=empty, extra=_EXTRA)
        table = pa.concat_tables([nothing, *made])
        return table.take(sort_rows(table["key"].to_numpy(), np.array(table["id"].to_pylist(), dtype=object))), failed

    def _read(self, name: str) -> Any:
        try:
            return self._catalogue.read_row(self._rows[name]).patch
        except SamewhereError as error:
            return error

    def _embed(self, rows: list[dict[str, Any]], patches: list[Any], pair: EncoderPair, failed: Failed) -> pa.Table:
        """Rows of patches; those that the checkpoint cannot see go to ``failed``."""
        try:
            vectors = pair.encode_image(patches)
        except SamewhereError:  # at least one of them: find out which
            kept, parts = [], []
            for row, patch in zip(rows, patches, strict=True):
                try:
                    parts.append(pair.encode_image([patch]))
                    kept.append((row, patch))
                except SamewhereError as error:
                    failed.append((row["id"], str(error)))
            rows, patches = [row for row, _ in kept], [patch for _, patch in kept]
            vectors = np.concatenate([np.empty((0, pair.dim), dtype=np.float32), *parts])
        columns = {
            "source": [self.name] * len(rows),
            "content": [self._content[row["id"]] for row in rows],
            "acquired": [row["acquired"] for row in rows],
            "cloud_percent": [row["cloud_percent"] for row in rows],
            "gsd_m": [row["gsd_m"] for row in rows],
            "footprint_km": [footprint_km(patch) for patch in patches],
            "level": [row["level"] for row in rows],
            "nodata_percent": [row["nodata_percent"] for row in rows],
            "thumbnail": [
                jpeg(_square(picture(patch), self._parameters.thumbnail_px), self._parameters.jpeg_quality)
                for patch in patches
            ],
        }
        lonlat = np.array([(row["lon"], row["lat"]) for row in rows], dtype=np.float64).reshape(-1, 2)
        return make_rows(
            "tiles",
            [row["id"] for row in rows],
            lonlat=lonlat,
            vectors=_sound(pair, vectors),
            columns=columns,
            extra=_EXTRA,
        )


_EXTRA = {"level": pa.string(), "nodata_percent": pa.float32()}


def open_sources(parameters: BuildParameters) -> list[RowSource]:
    """Every source of an index: the cells, then tiles in the order given.

    Raises:
        SourceError: there is no such dataset.
    """
    tiles: list[RowSource] = [
        MarbleSource(parameters) if name == BLUE_MARBLE else DatasetSource(name, parameters)
        for name in parameters.sources
    ]
    return [CellSource(parameters), *tiles]


def versions(parameters: BuildParameters) -> tuple[int, ...]:
    """What changes whenever a dataset among the sources does: the time of its rows' file, in ns."""
    names = [name for name in parameters.sources if name != BLUE_MARBLE]
    return tuple((dataset_path(name) / ROWS).stat().st_mtime_ns for name in names)


def jpeg(tile: NDArray[np.uint8], quality: int = JPEG_QUALITY) -> bytes:
    """A (3, H, W) uint8 picture as a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(np.moveaxis(tile, 0, -1)).save(file, "JPEG", quality=quality, subsampling=0)
    return file.getvalue()


def warm_up(pair: EncoderPair, parameters: BuildParameters) -> None:
    """Open sources and run both encoders once, so that the first shard's rate is that of the others."""
    here = np.tile([[12.49, 41.89]], (256, 1))  # as many as fill the memory that a shard will use
    atlas.country_of(here)
    side_km = parameters.tile_footprint_km
    pair.encode_location(here)
    if side_km is not None and BLUE_MARBLE in parameters.sources:
        pair.encode_image(BlueMarble.open().cut(here, footprint_km=side_km), footprint_km=side_km)


def _square(image: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    """The middle square of an (H, W, 3) picture at another size: (3, size_px, size_px)."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    middle = Image.fromarray(image[top : top + side, left : left + side])
    return np.moveaxis(
        np.asarray(middle.resize((size_px, size_px), Image.Resampling.BOX if side > size_px else 0)), -1, 0
    )


def _sound(pair: EncoderPair, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same vectors, unless some are not numbers.

    Raises:
        CheckpointError: the weights are damaged.
    """
    if not np.isfinite(vectors).all():
        raise CheckpointError(
            f"The checkpoint {pair.name} gave embeddings that are not numbers: it is damaged. "
            "Choose another with --checkpoint."
        )
    return vectors


def _lonlat(table: pa.Table) -> NDArray[np.float64]:
    return np.stack([table["lon"].to_numpy(), table["lat"].to_numpy()], axis=1)


def _places(dataset: str) -> NDArray[np.float64]:
    return _lonlat(Catalogue.open(dataset).query())


def _children(cells: Cells, resolution: int) -> Cells:
    """Every descendant of the cells at a resolution."""
    parts = [cell_children(int(cell), resolution) for cell in cells]
    return np.concatenate([np.empty(0, dtype=np.uint64), *parts])
