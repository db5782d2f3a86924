"""Folders of Sentinel-2 patches with known places, as S2-100K is distributed.

Owns the reading of such a folder: ``index.csv`` with the columns ``fn``, ``lon``, ``lat``, and 12-band L2A GeoTIFFs
beside it or in ``images/``; which patches train and which only monitor; and places drawn around a patch's centre.
Refuses folders without patches; single patches that do not read are set aside and counted.

Source:
    Klemmer et al. 2023, SatCLIP, arXiv:2311.17179, §3.1 (S2-100K) and the published training code, which leaves out
    files below 10,000 bytes.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from data.bands import L2A_BANDS, QUANTIFICATION
from data.errors import PatchError, SamewhereError
from data.geo import EARTH_RADIUS_KM, Floats, unit_vectors, validate_lonlat, wrap_lon
from data.patch import Patch, read_patch
from data.splits import BLOCK_DEG, block_of, within_km

MIN_BYTES = 10_000
FOOTPRINT_KM = 2.56
COLUMNS = ("fn", "lon", "lat")


@dataclass(frozen=True)
class PatchFolder:
    """The patches that an index names.

    Attributes:
        folder: where ``index.csv`` lies.
        names: (N,) file names.
        lonlat: (N, 2) degrees, the patches' centres.
    """

    folder: Path
    names: tuple[str, ...]
    lonlat: Floats

    def __len__(self) -> int:
        """Number of patches."""
        return len(self.names)

    def path(self, row: int) -> Path:
        """File of one patch."""
        beside = self.folder / self.names[row]
        return beside if beside.exists() else self.folder / "images" / self.names[row]

    def patch(self, row: int) -> Patch:
        """One patch, as it is.

        Raises:
            PatchError: it cannot be read, or is so small a file that it is mostly nodata.
        """
        path = self.path(row)
        if path.is_file() and (size := path.stat().st_size) < MIN_BYTES:
            raise PatchError(f"{path.name}: {size:,} bytes; below {MIN_BYTES:,} a patch is mostly nodata.")
        return read_patch(path)

    def read(self, row: int, size_px: int) -> NDArray[np.int16]:
        """One patch.

        Args:
            row: which.
            size_px: pixels it must have on each side at least.

        Returns:
            (12, H, W) surface reflectance × 10,000 without the offset of processing baseline 04.00; nodata is 0.

        Raises:
            PatchError: it cannot be read, has other bands, or is smaller.
        """
        patch, name = self.patch(row), self.names[row]
        if patch.bands != L2A_BANDS:
            raise PatchError(f"{name}: {len(patch.bands)} bands ({', '.join(patch.bands)}), 12 of L2A are wanted.")
        if min(patch.pixels.shape[1:]) < size_px:
            height, width = patch.pixels.shape[1:]
            raise PatchError(f"{name}: {width}×{height} pixels, at least {size_px}×{size_px} are wanted.")
        limits = np.iinfo(np.int16)  # no reflectance on land is beyond 3.2
        numbers = np.rint(np.nan_to_num(patch.pixels) * QUANTIFICATION)
        return np.asarray(np.clip(numbers, limits.min, limits.max), dtype=np.int16)

    def unreadable(self, size_px: int, *, threads: int = 8) -> dict[str, str]:
        """Read every patch once and say which do not read, and why: name → reason."""

        def reason(row: int) -> str:
            try:
                self.read(row, size_px)
            except SamewhereError as error:
                return str(error)
            return ""

        with ThreadPoolExecutor(threads) as pool:
            reasons = pool.map(reason, range(len(self)))
            return {name: text for name, text in zip(self.names, reasons, strict=True) if text}

    def without(self, names: Iterable[str]) -> Self:
        """The same folder without some patches."""
        left_out = set(names)
        kept = [row for row, name in enumerate(self.names) if name not in left_out]
        return replace(self, names=tuple(self.names[row] for row in kept), lonlat=self.lonlat[kept])


def open_folder(folder: Path) -> PatchFolder:
    """Read the index of a folder; no patch is opened.

    Raises:
        PatchError: there is no index, a column is missing, or no row.
        CoordinateError: a place is off the globe.
    """
    index = folder / "index.csv"
    try:
        with index.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            columns = reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise PatchError(
            f"{index}: cannot be read ({reason}). Give a folder of patches with an index.csv ({', '.join(COLUMNS)})."
        ) from error
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise PatchError(
            f"{index}: the column {', '.join(missing)} is missing; it has {', '.join(columns) or 'none'}. "
            f"Expected {', '.join(COLUMNS)}: file name, longitude and latitude in degrees."
        )
    if not rows:
        raise PatchError(f"{index}: it names no patch. Add a row for each, or choose another folder.")
    places = []
    for line, row in enumerate(rows, start=2):
        try:
            places.append((float(row["lon"]), float(row["lat"])))
        except (TypeError, ValueError) as error:
            seen = f"{row['lon']!r}, {row['lat']!r}"
            raise PatchError(
                f"{index}, line {line}: expected longitude and latitude in degrees, got {seen}."
            ) from error
    return PatchFolder(folder, tuple(row["fn"] for row in rows), validate_lonlat(places, where=str(index)))


@dataclass(frozen=True)
class FolderSplit:
    """Row numbers: what trains, and what only monitors, drawn at random or in whole blocks."""

    train: NDArray[np.int64]
    random: NDArray[np.int64]
    blocks: NDArray[np.int64]


def split_rows(lonlat: Floats, *, random_share: float, block_share: float, seed: int) -> FolderSplit:
    """Choose the rows that only monitor a run.

    Args:
        lonlat: (N, 2) degrees.
        random_share: of the patches outside the held-out blocks, drawn at random.
        block_share: of the 10° blocks that hold patches; all of theirs are held out. No training patch has a pixel in
            common with one of them.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    block = block_of(lonlat, BLOCK_DEG)
    numbers = rng.permutation(np.unique(block))
    held = np.isin(block, numbers[: int(np.ceil(len(numbers) * block_share))])
    inside, outside = np.flatnonzero(held), rng.permutation(np.flatnonzero(~held))
    count = int(len(outside) * random_share)
    random, train = outside[:count], outside[count:]
    if len(inside):
        train = train[~within_km(lonlat[train], lonlat[inside], FOOTPRINT_KM * np.sqrt(2))]
    return FolderSplit(train=np.sort(train), random=np.sort(random), blocks=inside)


def jitter(lonlat: Floats, radius_km: float, draws: Floats) -> Floats:
    """Move points to places uniform over a disc around each: the same kilometres in every direction, at every latitude.

    Args:
        lonlat: (N, 2) degrees.
        radius_km: of the disc, along the sphere.
        draws: (N, 2) uniform in 0…1: the direction and the share of the disc's area within the new distance.

    Returns:
        (N, 2) degrees.
    """
    angle, distance = 2 * np.pi * draws[:, :1], radius_km / EARTH_RADIUS_KM * np.sqrt(draws[:, 1:])
    lon, lat = np.radians(lonlat[:, :1]), np.radians(lonlat[:, 1:])
    east = np.concatenate([-np.sin(lon), np.cos(lon), np.zeros_like(lon)], axis=1)
    north = np.concatenate([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)], axis=1)
    towards = np.cos(angle) * east + np.sin(angle) * north  # a tangent of unit length, at the poles too
    x, y, z = (np.cos(distance) * unit_vectors(lonlat) + np.sin(distance) * towards).T
    moved = np.stack([wrap_lon(np.degrees(np.arctan2(y, x))), np.degrees(np.arctan2(z, np.hypot(x, y)))], axis=1)
    return np.asarray(moved, dtype=np.float64)


def draws_of(seed: int, epoch: int, rows: Sequence[int], count: int) -> Floats:
    """Uniform numbers 0…1 that depend on seed, epoch and row alone: (len(rows), count)."""
    return np.array([np.random.default_rng([seed, epoch, row]).random(count) for row in rows]).reshape(-1, count)
