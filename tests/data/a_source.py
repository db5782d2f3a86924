"""A source of drawn patches in memory, for the tests of datasets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from data.bands import L2A_BANDS
from data.errors import PatchError, SkippedPatch
from data.geo import local_grid
from data.land import sample_land
from data.patch import Patch
from data.sources.base import Record


class DrawnSource:
    """Small patches around the globe; some are left out, some fail, one lies nowhere."""

    kind = "drawn"

    def __init__(self, count: int = 60, *, seed: int = 0, spoiled: bool = False) -> None:
        rng = np.random.default_rng(seed)
        self.lonlat = sample_land(count, rng=rng)
        self.lonlat[:2] = (179.9999, 66.0), (-179.9999, -17.0)
        self.cloud = rng.uniform(0, 100, count)
        self.days = rng.integers(0, 2000, count)
        self.seed, self.spoiled = seed, spoiled
        self.addresses = [f"drawn-{number:04d}" for number in range(count)]
        self.reads: list[str] = []

    def read(self, address: str) -> Record:
        self.reads.append(address)
        row = self.addresses.index(address)
        if self.spoiled and row % 10 == 3:
            raise SkippedPatch("below 10 kB")
        if self.spoiled and row % 10 == 5:
            raise PatchError(f"{address}: damaged. Fetch it again.")
        numbers = np.random.default_rng([self.seed, row]).integers(-900, 20_000, (12, 16, 16))
        pixels = (numbers / 10_000).astype(np.float32)
        pixels[:, 0, :4] = np.nan
        lon, lat = self.lonlat[row].tolist()
        place = None if self.spoiled and row == 7 else (lon, lat)
        corners = local_grid([(lon, lat)], size_px=2, footprint_km=0.32)[0].reshape(4, 2)[[0, 1, 3, 2]]
        corners[:, 0] = lon + (corners[:, 0] - lon + 180) % 360 - 180
        when = datetime(2018, 1, 1, tzinfo=UTC) + timedelta(days=int(self.days[row]))
        patch = Patch(pixels, L2A_BANDS, lonlat=place, gsd_m=10.0, acquired=when, source=address)
        return Record(patch, address, corners, "L2A", float(self.cloud[row]))
