"""A STAC catalogue of Sentinel-2 L2A as a source: for every H3 cell of a box the clearest patches at its centre.

Owns the plan and the choice. The plan is made by one search: of the items that hold a cell's whole patch, those of the
least cloudy scenes. The choice is made when a patch is read: the scene classification over the patch puts these items
in order, and of the clearest the twelve bands are read. An item that fails is noted in ``passed_over``, and the next
one is taken; a cell of which every item fails is a failure. Addresses are cells with a rank ("85194e73fffffff/0", the
clearest) and depend on the box alone, so a job resumes at its shard whatever the catalogue has got since.

Source:
    STAC API v1.0.0, item search; Level-2A Algorithm Theoretical Basis Document, scene classification.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.affinity import translate

from data.bands import L2A_BANDS
from data.errors import PatchError, SkippedPatch, SourceError
from data.geo import Floats, cell_lonlat, cell_to_hex, local_grid, wrap_lon
from data.outline import outline_of
from data.patch import Patch, guess_offset
from data.radiometry import cloud_percent, reflectance
from data.sources.base import Failure, Record
from data.stac_cogs import Grid, read_window, utm_grid
from data.stac_presets import Api, Network, check_href
from data.stac_search import Scene, StacQuery, cells_in, ground_of, scene_of, search_items

UNCLEAR_CLASSES = (0, 1, 3, 8, 9, 10)
"""No data, defective, cloud shadow, cloud of medium and high probability, thin cirrus."""
CLEAR = 0.01
"""Share of unclear pixels below which no clearer item is looked for."""
SPARE_ITEMS = 4
"""How many items a cell has beyond those asked for, to choose from and to fall back on."""


class StacSource:
    """Patches of one query; see the module.

    Attributes:
        kind: "stac".
        addresses: of every cell and rank.
        api: the catalogue.
        query: what was looked for.
        items: how many the search found.
        passed_over: by item, what could not be read though its cell got another one, or was no use for any cell.
    """

    kind: str = "stac"

    def __init__(self, api: Api, query: StacQuery, *, network: Network | None = None) -> None:
        """Search once; no raster is opened.

        Raises:
            SourceError: the catalogue does not answer or has nothing, or the box holds too many cells or none.
        """
        self.api, self.query, self.network = api, query, network or Network()
        self._gdal = self.network.gdal() | dict(api.gdal)
        self.passed_over: dict[str, Failure] = {}
        cells = cells_in(query.bbox, query.resolution)
        if not len(cells):
            raise SourceError(
                f"No H3 cell of resolution {query.resolution} has its centre in the bounding box. Choose a larger box "
                "or a finer --resolution."
            )
        names, centres = cell_to_hex(cells), cell_lonlat(cells)
        self._places = {name: (float(lon), float(lat)) for name, (lon, lat) in zip(names, centres, strict=True)}
        self.addresses: Sequence[str] = [f"{name}/{rank}" for name in names for rank in range(query.per_cell)]
        found = search_items(api.url, query, self.network)
        self.items = len(found)
        self._scenes = dict(zip(names, self._plan(centres, found), strict=True))

    def read(self, address: str) -> Record:
        """Read the patch of a cell.

        Returns:
            Twelve bands of reflectance, 10 m, on a UTM grid about the cell's centre; ``patch.source`` names the item.

        Raises:
            SkippedPatch: no item that is clear enough holds it.
            PatchError: there is no such address, or none of its items could be read.
        """
        name, _, rank = address.partition("/")
        if name not in self._scenes or not rank.isdecimal() or int(rank) >= self.query.per_cell:
            raise PatchError(
                f"{address}: no such patch in this query. Its addresses are CELL/RANK, as {self.addresses[0]}."
            )
        if not self._scenes[name]:
            raise SkippedPatch(f"no item under {self.query.max_cloud:g} % cloud holds the patch")
        grid = utm_grid(self._places[name], self.query.size_px)
        failures: list[Failure] = []
        ranked = self._rank(self._scenes[name], grid, failures)
        record = None
        for scene, cloud in ranked[int(rank) :: self.query.per_cell]:
            if cloud is not None and cloud > self.query.max_cloud:
                break  # the others have more
            try:
                record = self._read_bands(scene, grid, address, cloud)
                break
            except PatchError as error:
                failures.append(Failure(scene.id, str(error)))
        if record is not None:
            self.passed_over |= {failure.address: failure for failure in failures}
            return record
        if failures:
            raise PatchError(f"{address}: " + " ".join(f"{failure.address}: {failure.reason}" for failure in failures))
        raise SkippedPatch(f"too few items with less than {self.query.max_cloud:g} % of the patch under cloud")

    def _plan(self, centres: Floats, items: Iterable[Mapping[str, Any]]) -> list[list[Scene]]:
        """For every centre the items that hold its patch, the least cloudy first."""
        scenes: list[tuple[Scene, Any]] = []
        for item in items:
            try:
                scene = scene_of(item)
                if scene.cloud <= self.query.max_cloud:
                    scenes.append((scene, ground_of(item)))
            except (KeyError, TypeError, ValueError, AttributeError, shapely.errors.ShapelyError, PatchError) as error:
                name = str(item.get("id", "item without id"))
                self.passed_over[name] = Failure(name, f"not usable ({type(error).__name__}: {error}).")
        squares = shapely.STRtree(patch_squares(centres, self.query.size_px))
        chosen: list[list[Scene]] = [[] for _ in centres]
        for scene, ground in sorted(scenes, key=lambda pair: (pair[0].cloud, pair[0].id)):
            for shift in (-360.0, 0.0, 360.0):
                for row in squares.query(translate(ground, shift), predicate="contains").tolist():
                    if len(chosen[row]) < self.query.per_cell + SPARE_ITEMS:
                        chosen[row].append(scene)
        return chosen

    def _rank(self, scenes: Sequence[Scene], grid: Grid, failures: list[Failure]) -> list[tuple[Scene, float | None]]:
        """Items by clearness over the patch, with percent of cloud where that is known."""
        ranked: list[tuple[float, int, Scene, float | None]] = []
        for number, scene in enumerate(scenes):
            if "SCL" not in scene.hrefs:
                ranked.append((scene.cloud / 100, number, scene, None))
                continue
            try:
                classes = self._window(scene, "SCL", grid)
            except PatchError as error:
                failures.append(Failure(scene.id, str(error)))
                continue
            unclear = float(np.isin(classes, UNCLEAR_CLASSES).mean())
            ranked.append((unclear, number, scene, cloud_percent(classes)))
            if sum(entry[0] <= CLEAR for entry in ranked) >= self.query.per_cell:
                break
        return [(scene, cloud) for _, _, scene, cloud in sorted(ranked, key=lambda entry: entry[:2])]

    def _read_bands(self, scene: Scene, grid: Grid, address: str, cloud: float | None) -> Record:
        missing = [band for band in L2A_BANDS if band not in scene.hrefs]
        if missing:
            raise PatchError(f"no asset for {', '.join(missing)}.")
        numbers = np.stack([self._window(scene, band, grid) for band in L2A_BANDS])  # (12, H, W)
        offset = scene.offset
        if offset is None:
            offset = guess_offset(np.where(numbers == 0, np.float32(np.nan), numbers.astype(np.float32)))
        centre, outline = outline_of(grid.crs, grid.transform, grid.size_px, grid.size_px)
        patch = Patch(
            reflectance(numbers, offset=offset),
            L2A_BANDS,
            lonlat=centre,
            gsd_m=10.0,
            acquired=scene.acquired,
            source=f"{self.query.collection}/{scene.id}",
        )
        return Record(patch, address, footprint=outline, level="L2A", cloud_percent=cloud)

    def _window(self, scene: Scene, band: str, grid: Grid) -> NDArray[np.uint16]:
        try:
            return read_window(self.api.sign(check_href(scene.hrefs[band])), grid, self._gdal)
        except PatchError as error:
            raise PatchError(f"{band}: {error}") from error


def patch_squares(centres: Floats, size_px: int) -> NDArray[Any]:
    """Outlines that hold the patches about (N, 2) degrees, a twentieth wider; longitudes go on past ±180."""
    side_km = 1.05 * size_px * 10 / 1000
    corners = local_grid(centres, size_px=2, footprint_km=2 * side_km)[:, (0, 0, 1, 1), (0, 1, 1, 0)]  # (N, 4, 2)
    corners[..., 0] = centres[:, None, 0] + wrap_lon(corners[..., 0] - centres[:, None, 0])
    return np.asarray(shapely.polygons(corners))
