"""Answers: one hit, and lists of hits as CSV and GeoJSON for other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from data.errors import CoordinateError
from data.geo import cell_of, hex_to_cell

PATCH_RESOLUTION = 7
Target = Literal["cells", "tiles"]


@dataclass(frozen=True)
class Hit:
    """One answer.

    Attributes:
        rank: 1 for the best.
        id: H3 id, hex, of a cell; name of a tile.
        lon: degrees, of the centre.
        lat: degrees, of the centre.
        score: cosine similarity in the view that was asked for, higher is better.
        km: great-circle kilometres from the query, or None where its place is unknown.
        country: ISO 3166 alpha-3, '' for none.
        target: ``cells`` or ``tiles``.
        source: of a tile, '' for cells.
    """

    rank: int
    id: str
    lon: float
    lat: float
    score: float
    km: float | None
    country: str
    target: Target
    source: str = ""

    @property
    def cell(self) -> int:
        """H3 cell that stands for it on a map: its own, or for a tile of another name one of 2.4 km at its place."""
        try:
            return hex_to_cell(self.id)
        except CoordinateError:
            return int(cell_of([(self.lon, self.lat)], PATCH_RESOLUTION)[0])


def hits_to_geojson(hits: Sequence[Hit]) -> dict[str, Any]:
    """Hits as a GeoJSON FeatureCollection of points, everything else as properties.

    Source:
        RFC 7946, The GeoJSON Format.
    """
    features = []
    for hit in hits:
        properties = asdict(hit)
        point = [round(properties.pop("lon"), 6), round(properties.pop("lat"), 6)]
        geometry = {"type": "Point", "coordinates": point}
        features.append({"type": "Feature", "id": hit.id, "geometry": geometry, "properties": properties})
    return {"type": "FeatureCollection", "features": features}


def hits_to_csv(hits: Sequence[Hit]) -> str:
    """Hits as CSV with a header line; an unknown distance is an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [column.name for column in fields(Hit)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(hit) for hit in hits)
    return text.getvalue()
