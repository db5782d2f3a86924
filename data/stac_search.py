"""One search of a STAC catalogue: what is asked, what comes back, and the cells of a box.

Owns the query and its limits, the request with its repetitions, and what is kept of an item. Refuses queries for more
cells than a catalogue would answer, and answers that are none of a STAC API. Clouds are sorted out here too, since not
every catalogue knows the query extension.

Source:
    STAC API v1.0.0, item search; RFC 7946 §3.1.9 and §5.2 on the antimeridian.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import shapely
from shapely.geometry import shape

from data.errors import SourceError
from data.geo import METRES_PER_DEGREE, BBox, Cells, Floats, cell_lonlat, cell_of, wrap_lon
from data.radiometry import offset_of_baseline
from data.stac_cogs import reason_of
from data.stac_presets import ASSET_KEYS, Network

MAX_CELLS = 200_000
EDGE_KM = 1281.256
"""Mean edge of H3's cells at resolution 0; √7 times shorter at each further one."""


@dataclass(frozen=True)
class StacQuery:
    """What to look for.

    Attributes:
        collection: id, as sentinel-2-l2a.
        bbox: in which the centres of the cells lie.
        datetime: RFC 3339 instant or interval, a part of a date (2023-06), or None for any time.
        max_cloud: percent, of the scene and then of the patch.
        per_cell: patches in a cell, each of another item.
        resolution: of the H3 cells.
        size_px: pixels of 10 m on a patch's side.
    """

    collection: str
    bbox: BBox
    datetime: str | None = None
    max_cloud: float = 20.0
    per_cell: int = 1
    resolution: int = 5
    size_px: int = 256

    def __post_init__(self) -> None:
        """Refuse what no catalogue can answer.

        Raises:
            SourceError: a number is out of range.
        """
        for name, value, low, high in (
            ("--max-cloud", self.max_cloud, 0, 100),
            ("--per-cell", self.per_cell, 1, 100),
            ("--resolution", self.resolution, 0, 9),
            ("--size", self.size_px, 8, 1024),
        ):
            if not low <= value <= high:
                raise SourceError(f"{name} {value:g} is outside {low}…{high}.")


@dataclass(frozen=True)
class Scene:
    """What is kept of an item; ``hrefs`` by band and SCL, ``cloud`` in percent, ``offset`` in digital numbers."""

    id: str
    acquired: datetime
    cloud: float
    offset: float | None
    hrefs: Mapping[str, str]


def search_items(url: str, query: StacQuery, network: Network) -> list[dict[str, Any]]:
    """Every item of a query, as the catalogue has it, without repetition.

    Raises:
        SourceError: the catalogue does not answer, refuses the query, or has nothing.
    """
    import pystac_client
    from pystac_client.exceptions import APIError
    from pystac_client.stac_api_io import StacApiIO
    from urllib3.util import Retry

    retry = Retry(
        network.retries,
        backoff_factor=network.backoff_s,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=None,  # a search is a POST that changes nothing
    )
    box = query.bbox
    halves = [(box.west, box.south, box.east, box.north)]
    if box.west > box.east:  # not every server knows boxes across the antimeridian
        halves = [(box.west, box.south, 180.0, box.north), (-180.0, box.south, box.east, box.north)]
    found: dict[str, dict[str, Any]] = {}
    try:
        io = StacApiIO(timeout=network.timeout_s, max_retries=retry)
        client = pystac_client.Client.open(url, stac_io=io, timeout=network.timeout_s)
        clouds = {"eo:cloud_cover": {"lte": query.max_cloud}} if client.conforms_to("QUERY") else None
        for half in halves:
            search = client.search(
                collections=[query.collection], bbox=half, datetime=query.datetime, query=clouds, limit=100
            )
            found |= {str(item.get("id")): item for item in search.items_as_dicts()}
    except APIError as error:
        raise SourceError(
            f"{url}: the catalogue does not answer as a STAC API should: {reason_of(error)}. Check --api, or try again "
            "later."
        ) from error
    except Exception as error:  # pystac and pystac-client raise what they stumble over in a foreign answer
        raise SourceError(
            f"{url}: no answer of a STAC API to this query ({type(error).__name__}: {reason_of(error)}). Check --api "
            "and --datetime, which is written as 2023-06-01/2023-08-31."
        ) from error
    if not found:
        raise SourceError(
            f"{url}: nothing in collection {query.collection!r} for this box and time. Check --collection, --bbox "
            "(west,south,east,north) and --datetime."
        )
    return list(found.values())


def scene_of(item: Mapping[str, Any]) -> Scene:
    """What is needed of an item.

    Digital numbers lose the offset of their processing baseline, but not where ``earthsearch:boa_offset_applied`` says
    that the catalogue has taken it off already. Without a baseline the offset is None, to be seen from the data.
    """
    properties, assets = item["properties"], item["assets"]
    baseline = properties.get("s2:processing_baseline") or properties.get("processing:version")
    offset = None if baseline is None else offset_of_baseline(str(baseline))
    if properties.get("earthsearch:boa_offset_applied"):
        offset = 0.0
    hrefs = {
        band: str(assets[key]["href"])
        for band, keys in ASSET_KEYS.items()
        if (key := next((key for key in keys if key in assets), None)) is not None
    }
    acquired = datetime.fromisoformat(str(properties.get("datetime") or properties["start_datetime"]))
    return Scene(str(item["id"]), acquired, float(properties.get("eo:cloud_cover", 0.0)), offset, hrefs)


def ground_of(item: Mapping[str, Any]) -> Any:
    """An item's outline; one that was written straight through the antimeridian is put together again."""
    outline = shapely.make_valid(shape(item["geometry"]))
    west, _, east, _ = outline.bounds
    if east - west <= 180:
        return outline

    def eastern(points: Floats) -> Floats:
        return np.stack([np.where(points[:, 0] < 0, points[:, 0] + 360, points[:, 0]), points[:, 1]], axis=1)

    return shapely.make_valid(shapely.transform(shape(item["geometry"]), eastern))


def cells_in(bbox: BBox, resolution: int) -> Cells:
    """Cells whose centre lies in a box, sorted by id.

    Points closer than any cell is wide find them: no more than half a mean edge apart.

    Raises:
        SourceError: there are too many.
    """
    step_deg = 500 * EDGE_KM / 7 ** (resolution / 2) / METRES_PER_DEGREE
    span_deg = 360.0 if bbox.east - bbox.west >= 360 else (bbox.east - bbox.west) % 360.0
    band = np.sin(np.radians((bbox.south, bbox.north)))
    estimate = (2 + 120 * 7**resolution) * (span_deg / 360) * (band[1] - band[0]) / 2
    if estimate > MAX_CELLS:
        raise SourceError(
            f"The bounding box holds about {estimate:,.0f} H3 cells of resolution {resolution}; {MAX_CELLS:,} is the "
            "limit. Choose a smaller box or a coarser --resolution."
        )
    south, north = max(-90.0, bbox.south - step_deg), min(90.0, bbox.north + step_deg)
    rows = []
    for lat in np.linspace(south, north, 2 + int((north - south) / step_deg)):
        step = min(step_deg / max(np.cos(np.radians(lat)), 1e-9), 120.0)
        lon = bbox.west + np.arange(-step, min(span_deg + 2 * step, 360.0) + step, step)
        rows.append(np.stack([wrap_lon(lon), np.full(len(lon), lat)], axis=1))
    cells = np.unique(cell_of(np.concatenate(rows), resolution))
    return cells[bbox.contains(cell_lonlat(cells))]
