"""Places that make telling first queries, each with a Blue Marble patch cut around it."""

from __future__ import annotations

from dataclasses import dataclass

from data.blue_marble import BlueMarble
from data.patch import Patch


@dataclass(frozen=True)
class Sample:
    """One place: its name, (lon, lat) in degrees."""

    name: str
    lon: float
    lat: float

    def patch(self) -> Patch:
        """The Blue Marble around it, with its coordinates."""
        return BlueMarble.open().patch(self.lon, self.lat)


SAMPLES: dict[str, Sample] = {
    "sahara": Sample("Sahara dunes", 6.5, 30.6),
    "amazon": Sample("Amazon forest", -62.5, -5.5),
    "nile": Sample("Nile delta", 31.0, 30.8),
    "himalaya": Sample("Himalaya", 84.6, 28.6),
    "taiga": Sample("Siberian taiga", 100.0, 62.0),
    "corn": Sample("Corn belt", -93.5, 42.0),
    "ice": Sample("Greenland ice edge", -49.0, 67.2),
}
"""Key in a link, and the sample."""
