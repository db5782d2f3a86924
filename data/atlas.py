"""The atlas: what is known about a place, read from small rasters that ship with the project.

Owns the sampling of ``data/atlas/*.tif`` and the names of countries. Quantities (temperature, elevation, lights …) are
interpolated between pixels; Köppen classes and countries are those of the pixel. Every file says in its own tags what
it holds, where it comes from and under which licence; ``data/atlas/ATTRIBUTION.md`` lists them and
``tools/build_atlas.py`` remakes them. The atlas serves labels, filters and evaluation: nothing here may enter the
training of a pair.
"""

from __future__ import annotations

import difflib
import json
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypedDict

import numpy as np
import rasterio
from numpy.typing import ArrayLike, NDArray

from data.errors import QueryError
from data.geo import Floats, validate_lonlat

FOLDER = Path(__file__).with_suffix("")

Strings = NDArray[np.str_]


class Country(TypedDict):
    """One entry of ``countries.json``."""

    name: str
    numeric: int
    aliases: list[str]
    continent: str


@dataclass(frozen=True)
class Variable:
    """One layer of the atlas: its name, what it means, its unit and range, and whose it is."""

    name: str
    description: str
    unit: str
    source: str
    licence: str
    package: str
    processing: str
    categorical: bool
    range: str = ""


@dataclass(frozen=True)
class Layer:
    """A raster in memory: (H, W) integers, their scale, and where the first pixel's centre lies and how wide it is."""

    values: NDArray[np.integer]
    scale: float
    nodata: float | None
    west_deg: float
    north_deg: float
    step_deg: float
    tags: dict[str, str]

    @property
    def categorical(self) -> bool:
        """Whether the values are numbers of classes, between which nothing lies."""
        return self.tags.get("kind") == "classes"

    def pixel(self, lonlat: Floats) -> tuple[Floats, Floats]:
        """Rows and columns of (N, 2) degrees as fractions: whole numbers are pixel centres."""
        row = (self.north_deg - lonlat[:, 1]) / self.step_deg
        column = (lonlat[:, 0] - self.west_deg) / self.step_deg
        return np.clip(row, 0, self.values.shape[0] - 1), column

    def at(self, row: NDArray[np.int64], column: NDArray[np.int64]) -> Floats:
        """Values in the layer's unit, NaN for nodata; columns wrap around the globe."""
        raw = self.values[row, column % self.values.shape[1]].astype(np.float64)
        return raw * self.scale if self.nodata is None else np.where(raw == self.nodata, np.nan, raw * self.scale)


@cache
def layer(variable: str) -> Layer:
    """A layer by name, read once.

    Raises:
        QueryError: the atlas has no such layer.
    """
    path = FOLDER / f"{variable}.tif"
    if variable not in names():
        raise QueryError(f"The atlas has no variable {variable!r}; it has {', '.join(names())}.")
    with rasterio.open(path) as file:
        step = float(file.transform.a)
        return Layer(
            values=file.read(1),
            scale=float(file.scales[0]),
            nodata=file.nodata,
            west_deg=float(file.transform.c) + step / 2,
            north_deg=float(file.transform.f) - step / 2,
            step_deg=step,
            tags=file.tags(),
        )


@cache
def names() -> tuple[str, ...]:
    """The names of all layers, in alphabetical order."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.tif")))


def variables() -> list[Variable]:
    """Every layer with its unit, source and licence."""
    found = []
    for name in names():
        with rasterio.open(FOLDER / f"{name}.tif") as file:
            tags = file.tags()
            fields = {key: tags[key] for key in Variable.__dataclass_fields__ if key in tags}
            found.append(Variable(name=name, categorical=tags.get("kind") == "classes", **fields))
    return found


def sample(variable: str, lonlat: ArrayLike) -> Floats:
    """Values of a variable at places.

    Args:
        variable: one of :func:`names`.
        lonlat: (N, 2) degrees; longitudes -180…180 or 0…360.

    Returns:
        (N,) float64 in the layer's unit: bilinear between pixel centres, around the antimeridian too; for ``koppen``
        and ``country`` the number of the nearest pixel. NaN where the nearest pixel has no value, as in the sea;
        other pixels without one lend their weight to those that have one.

    Raises:
        QueryError: the atlas has no such variable.
        CoordinateError: a coordinate off the globe.
    """
    source = layer(variable)
    row, column = source.pixel(validate_lonlat(lonlat))
    nearest = source.at(np.rint(row).astype(np.int64), np.rint(column).astype(np.int64))
    if source.categorical:
        return nearest
    top, left = np.floor(row).astype(np.int64), np.floor(column).astype(np.int64)
    down, right = row - top, column - left  # 0…1
    below = np.minimum(top + 1, source.values.shape[0] - 1)
    total, weights = np.zeros(len(row)), np.zeros(len(row))
    for line, share in ((top, 1 - down), (below, down)):
        for place, part in ((left, 1 - right), (left + 1, right)):
            value, weight = source.at(line, place), share * part
            total += weight * np.nan_to_num(value)
            weights += weight * np.isfinite(value)
    return np.where(np.isfinite(nearest), total / np.maximum(weights, np.finfo(float).tiny), np.nan)


def koppen(lonlat: ArrayLike) -> Strings:
    """Köppen–Geiger codes such as ``Cfb`` at (N, 2) degrees: (N,) text, ``''`` in the sea.

    Source:
        Rubel et al. 2017, The climate of the European Alps: Shift of very high resolution Köppen-Geiger climate zones.
    """
    return _decode("koppen", lonlat, _koppen_legend())


def koppen_classes() -> tuple[str, ...]:
    """The thirty-one Köppen–Geiger codes, in the order of the map's numbers."""
    return tuple(_koppen_legend().values())


def country_of(lonlat: ArrayLike) -> Strings:
    """ISO 3166 alpha-3 codes at (N, 2) degrees: (N,) text, ``''`` where there is no country.

    Labels reach 30 km over the sea, so that places on a coast drawn coarsely still have their country.
    """
    return _decode("country", lonlat, {entry["numeric"]: code for code, entry in _table().items()})


def continent_of(lonlat: ArrayLike) -> Strings:
    """GeoNames' continents at (N, 2) degrees: AF, AN, AS, EU, NA, OC, SA, or ``''``; (N,) text.

    A place belongs to its country's continent, so all of Russia is in EU, all of Turkey in AS.
    """
    table = {code: entry["continent"] for code, entry in _table().items()}
    return np.array([table.get(code, "") for code in country_of(lonlat).tolist()], dtype="<U2")


def country_name(code: str) -> str:
    """The English name of an alpha-3 code, in any case.

    Raises:
        QueryError: no such code.
    """
    return countries()[country_code(code)]


def countries() -> dict[str, str]:
    """Every alpha-3 code of the atlas and its English name."""
    return {code: entry["name"] for code, entry in _table().items()}


def continents() -> tuple[str, ...]:
    """The codes of the seven continents: AF, AN, AS, EU, NA, OC, SA."""
    return tuple(sorted({entry["continent"] for entry in _table().values()}))


def country_code(text: str) -> str:
    """The alpha-3 code of a country given by code (alpha-2, alpha-3) or English name, in any case, accents or not.

    Raises:
        QueryError: no such country; names the closest ones.
    """
    known = _spellings()
    code = known.get(_plain(text))
    if code is not None:
        return code
    close = dict.fromkeys(known[key] for key in difflib.get_close_matches(_plain(text), known, n=5, cutoff=0.6))
    options = ", ".join(f"{countries()[code]} ({code})" for code in list(close)[:3])
    advice = f"Did you mean {options}?" if options else "Give an ISO 3166 alpha-3 code or an English name, as in ITA."
    raise QueryError(f"There is no country {text!r}. {advice}")


def _decode(variable: str, lonlat: ArrayLike, legend: dict[int, str]) -> Strings:
    """Class numbers at places as their codes."""
    codes = np.full(max(legend) + 1, "", dtype=f"<U{max(map(len, legend.values()))}")
    codes[list(legend)] = list(legend.values())
    return codes[np.nan_to_num(sample(variable, lonlat)).astype(np.int64)]


@cache
def _koppen_legend() -> dict[int, str]:
    """Numbers of the Köppen map and their codes."""
    return {int(number): code for number, code in json.loads(layer("koppen").tags["legend"]).items()}


@cache
def _table() -> dict[str, Country]:
    """``countries.json``, by alpha-3 code."""
    table: dict[str, Country] = json.loads((FOLDER / "countries.json").read_text("utf-8"))
    return table


@cache
def _spellings() -> dict[str, str]:
    """Every accepted spelling, made plain, and its code. Codes win over names."""
    spellings: dict[str, str] = {}
    for code, entry in _table().items():
        for word in [entry["name"], *entry["aliases"]]:
            spellings[_plain(word)] = code
    return spellings | {_plain(code): code for code in _table()}


def _plain(text: str) -> str:
    """A spelling without accents, case, punctuation or outer blanks."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    kept = (c if c.isalnum() else " " for c in letters if not unicodedata.combining(c) and c not in "'’.")
    return " ".join("".join(kept).split())
