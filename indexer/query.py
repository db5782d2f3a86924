"""What is searched for: a place, an image, or a tile that is already in the index.

Owns the validity of a query by itself. Whether an index can answer it is ``indexer.search``'s to say.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from data.geo import hex_to_cell, validate_lonlat
from data.patch import Patch

Kind = Literal["place", "image", "tile"]


@dataclass(frozen=True)
class Query:
    """One question to an index. Make it with :meth:`place`, :meth:`image` or :meth:`tile`.

    Attributes:
        kind: which of the three it is.
        lonlat: where it lies, in degrees, or None for an image whose place is unknown and for a tile.
        patch: the image.
        tile_id: H3 id of the tile.
    """

    kind: Kind
    lonlat: tuple[float, float] | None = None
    patch: Patch | None = field(default=None, repr=False)
    tile_id: int | None = None

    @classmethod
    def place(cls, lon: float, lat: float) -> Query:
        """Ask for what resembles a place, given in degrees.

        Raises:
            CoordinateError: the point is not on the globe.
        """
        point = validate_lonlat((lon, lat), where="place")[0]
        return cls("place", lonlat=(float(point[0]), float(point[1])))

    @classmethod
    def image(cls, patch: Patch) -> Query:
        """Ask for what resembles an image. Where its place is known, hits tell their distance from it."""
        return cls("image", lonlat=patch.lonlat, patch=patch)

    @classmethod
    def tile(cls, tile_id: str) -> Query:
        """Ask for what resembles a stored tile, by its hex id. No encoder runs: its vector is at hand.

        Raises:
            CoordinateError: the text is not an H3 cell id.
        """
        return cls("tile", tile_id=hex_to_cell(tile_id))
