"""The data sets of the SatCLIP paper, read from a folder where the user has put them.

Owns the file layouts, one a set, as their authors publish them; nothing is downloaded here. Places without a value (the
sea, by each file's own mark) are left out. Refuses files without their columns, and text where a number should stand,
by file, row and column.

Source:
    Klemmer et al. 2023, SatCLIP, arXiv:2311.17179, section 4 and appendix, for which sets are used.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data.errors import HeadError
from data.geo import Floats, validate_lonlat

Columns = Mapping[str, str]
Read = Callable[[Path], tuple[Floats, NDArray[Any]]]


@dataclass(frozen=True)
class PaperSet:
    """One data set.

    Attributes:
        name: what ``--task`` calls it.
        title: for tables.
        kind: "regression" or "classification".
        files: that must lie in the folder.
        origin: where they come from.
        read: the folder to (N, 2) degrees and (N,) values or classes.
    """

    name: str
    title: str
    kind: str
    files: tuple[str, ...]
    origin: str
    read: Read

    def is_in(self, folder: Path) -> bool:
        """Whether every file is there."""
        return all((folder / name).is_file() for name in self.files)

    def load(self, folder: Path) -> tuple[Floats, NDArray[Any]]:
        """Read the set.

        Returns:
            (N, 2) degrees, and (N,) float64 values or text classes, all known.

        Raises:
            HeadError: a file is missing or is not laid out as it should be.
            CoordinateError: a coordinate off the globe.
        """
        missing = [name for name in self.files if not (folder / name).is_file()]
        if missing:
            raise HeadError(
                f"{self.name} needs {' and '.join(missing)} in {folder}. It comes from {self.origin}; "
                "docs/evaluation.md says how the files are laid out."
            )
        lonlat, target = self.read(folder)
        if not len(target):
            raise HeadError(f"{folder / self.files[0]} holds no place with a value.")
        return validate_lonlat(lonlat, where=str(folder / self.files[0])), target


def read_columns(path: Path, wanted: Columns, **reading: Any) -> dict[str, Floats]:
    """Columns of numbers of a text table; rows in which one is empty are left out.

    Args:
        path: the file.
        wanted: what the caller calls a column, and its name in the header, in any case.
        reading: passed to ``pandas.read_csv``.

    Raises:
        HeadError: no such file or column, or text where a number should stand.
    """
    try:
        table = pd.read_csv(path, skipinitialspace=True, **reading)
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise HeadError(f"{path} cannot be read as a table: {error}.") from error
    header = {str(column).strip().lower(): column for column in table.columns}
    lacking = [name for name in wanted.values() if name.lower() not in header]
    if lacking:
        there = ", ".join(str(column).strip() for column in table.columns[:12])
        raise HeadError(f"{path} has no column {lacking[0]}; it has {there}.")
    found: dict[str, Floats] = {}
    for key, name in wanted.items():
        column = table[header[name.lower()]]
        numbers = pd.to_numeric(column, errors="coerce")
        bad = numbers.isna() & column.notna() & (column.astype(str).str.strip() != "")
        if bad.any():
            row = int(np.argmax(bad.to_numpy()))
            raise HeadError(f"{path}: row {row + 1}, column {name}: {column.iloc[row]!r} is no number.")
        found[key] = numbers.to_numpy(dtype=np.float64)
    there_all = np.isfinite(np.stack(list(found.values()))).all(axis=0)
    return {key: values[there_all] for key, values in found.items()}


def _values(name: str, column: str, *, lon: str = "lon", lat: str = "lat") -> Read:
    """A reader of one column of values."""

    def read(folder: Path) -> tuple[Floats, NDArray[Any]]:
        found = read_columns(folder / name, {"lon": lon, "lat": lat, "y": column})
        return np.stack([found["lon"], found["lat"]], axis=1), found["y"]

    return read


def _classes(name: str, column: str, *, none: int) -> Read:
    """A reader of one column of class numbers, of which one means that there is no class."""

    def read(folder: Path) -> tuple[Floats, NDArray[Any]]:
        found = read_columns(folder / name, {"lon": "lon", "lat": "lat", "y": column})
        known = found["y"] != none
        return np.stack([found["lon"], found["lat"]], axis=1)[known], found["y"][known].astype(np.int64).astype(str)

    return read


def _california(folder: Path) -> tuple[Floats, NDArray[Any]]:
    """StatLib's file has no header: longitude, latitude, six others, and last the median house value in dollars."""
    columns = ["longitude", "latitude", "age", "rooms", "bedrooms", "people", "households", "income", "value"]
    found = read_columns(
        folder / CALIFORNIA, {"lon": "longitude", "lat": "latitude", "y": "value"}, header=None, names=columns
    )
    return np.stack([found["lon"], found["lat"]], axis=1), found["y"]


def _income(folder: Path) -> tuple[Floats, NDArray[Any]]:
    """County incomes joined to the Census Bureau's county centres by FIPS code; the lower 48 states."""
    money = read_columns(folder / INCOME, {"fips": "FIPS", "y": "MedianIncome2016"}, thousands=",")
    place = read_columns(
        folder / GAZETTEER, {"fips": "GEOID", "lat": "INTPTLAT", "lon": "INTPTLONG"}, sep="\t", encoding="latin-1"
    )
    where = {int(code): row for row, code in enumerate(place["fips"])}
    pairs = [(row, where[int(code)]) for row, code in enumerate(money["fips"]) if int(code) in where]
    rows = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    lonlat = np.stack([place["lon"], place["lat"]], axis=1)[rows[:, 1]]
    inside = (lonlat[:, 0] > -130) & (lonlat[:, 0] < -50) & (lonlat[:, 1] > 22) & (lonlat[:, 1] < 50)
    return lonlat[inside], money["y"][rows[:, 0]][inside]


def _inaturalist(folder: Path) -> tuple[Floats, NDArray[Any]]:
    """Species of the training photographs, joined to their places by the photograph's id."""
    try:
        labels = json.loads((folder / INAT_LABELS).read_text("utf-8"))["annotations"]
        places = json.loads((folder / INAT_PLACES).read_text("utf-8"))
        of = {entry["image_id"]: entry["category_id"] for entry in labels}
        rows = [
            (entry["lon"], entry["lat"], of[entry["id"]])
            for entry in places
            if entry["id"] in of and entry["lon"] is not None and entry["lat"] is not None
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise HeadError(
            f"{folder}: {INAT_LABELS} should hold annotations with image_id and category_id, and {INAT_PLACES} a list "
            f"of entries with id, lon and lat ({error})."
        ) from error
    lonlat = np.array([row[:2] for row in rows], dtype=np.float64).reshape(-1, 2)
    return lonlat, np.array([str(row[2]) for row in rows], dtype=np.str_)


CALIFORNIA = "cal_housing.data"
INCOME, GAZETTEER = "income.csv", "2020_Gaz_counties_national.txt"
INAT_LABELS, INAT_PLACES = "train2018.json", "train2018_locations.json"
_AUTHORS = "the SatCLIP authors' downstream data (microsoft/satclip on GitHub, issue 6)"

SETS: tuple[PaperSet, ...] = (
    PaperSet(
        "paper-air-temperature",
        "Air temperature (stations)",
        "regression",
        ("stationDataAll.csv",),
        "Hooker, Duveiller and Cescatti 2018, doi:10.1038/sdata.2018.246 (its figshare file 12609182)",
        _values("stationDataAll.csv", "meanT"),
    ),
    PaperSet(
        "paper-median-income",
        "Median income (US counties)",
        "regression",
        (INCOME, GAZETTEER),
        "Jia and Benson 2020, arXiv:2002.08274 (their datasets/election), and the Census Bureau's 2020 gazetteer",
        _income,
    ),
    PaperSet(
        "paper-california-housing",
        "California housing",
        "regression",
        (CALIFORNIA,),
        "Pace and Barry 1997, the file inside StatLib's cal_housing.tgz that scikit-learn reads",
        _california,
    ),
    PaperSet(
        "paper-elevation",
        "Elevation (paper)",
        "regression",
        ("labels_elevation.csv",),
        _AUTHORS,
        _values("labels_elevation.csv", "elevation"),
    ),
    PaperSet(
        "paper-population",
        "Population (paper, log)",
        "regression",
        ("labels_population.csv",),
        _AUTHORS,
        _values("labels_population.csv", "log_population"),
    ),
    PaperSet(
        "paper-country",
        "Country (paper)",
        "classification",
        ("lat_lon_country.csv",),
        _AUTHORS,
        _classes("lat_lon_country.csv", "country", none=0),
    ),
    PaperSet(
        "paper-biome",
        "Biome",
        "classification",
        ("lat_lon_ecoregion.csv",),
        _AUTHORS,
        _classes("lat_lon_ecoregion.csv", "biome_class_index", none=-1),
    ),
    PaperSet(
        "paper-ecoregion",
        "Ecoregion",
        "classification",
        ("lat_lon_ecoregion.csv",),
        _AUTHORS,
        _classes("lat_lon_ecoregion.csv", "ecoregion_class_index", none=-1),
    ),
    PaperSet(
        "paper-inaturalist",
        "iNaturalist 2018 species",
        "classification",
        (INAT_LABELS, INAT_PLACES),
        "the iNaturalist 2018 competition (visipedia/inat_comp on GitHub) and its locations",
        _inaturalist,
    ),
)
"""Every set of the paper's Tables 2 and 3. Of iNaturalist the place alone is used here, not the photograph."""


def find_set(name: str) -> PaperSet | None:
    """A set by name, or None."""
    return next((entry for entry in SETS if entry.name == name), None)
