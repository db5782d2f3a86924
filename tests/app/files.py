"""Files to upload: a good patch, and each of the bad ones."""

from __future__ import annotations

import csv
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rasterio.io import MemoryFile
from rasterio.transform import from_bounds

from data import atlas
from data.blue_marble import BlueMarble
from data.land import sample_land


def geotiff(pixels: NDArray[np.generic], *, centre: tuple[float, float] = (31.0, 30.8), side_deg: float = 2.0) -> bytes:
    """A GeoTIFF of (C, H, W) pixels around a place."""
    lon, lat = centre
    count, height, width = pixels.shape
    edges = (lon - side_deg / 2, lat - side_deg / 2, lon + side_deg / 2, lat + side_deg / 2)
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": pixels.dtype}
    with MemoryFile() as file:
        with file.open(**profile, crs="EPSG:4326", transform=from_bounds(*edges, width, height)) as dataset:
            dataset.write(pixels)
        return bytes(file.read())


def blue_marble_patch(lon: float, lat: float) -> bytes:
    """The Blue Marble around a place as a GeoTIFF of red, green and blue bytes."""
    return geotiff(BlueMarble.open().cut([[lon, lat]])[0], centre=(lon, lat))


def table_of(count: int) -> bytes:
    """A CSV of land places and their temperature, which the atlas knows and an embedding partly does."""
    places = sample_land(count, rng=np.random.default_rng(4))
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["lon", "lat", "warmth"])
    for (lon, lat), value in zip(places.tolist(), atlas.sample("temperature", places).tolist(), strict=True):
        writer.writerow([lon, lat, value])
    return out.getvalue().encode()


def bad_files() -> dict[str, tuple[str, bytes]]:
    """Name and content of files that are no patch, by what is wrong with them."""
    png = io.BytesIO()
    Image.new("RGB", (1, 1)).save(png, "PNG")
    whole = blue_marble_patch(31.0, 30.8)
    return {
        "text": ("notes.tif", b"these are notes, not an image"),
        "five bands": ("five.tif", geotiff(np.ones((5, 32, 32), dtype=np.uint16))),
        "nodata": ("empty.tif", geotiff(np.zeros((12, 32, 32), dtype=np.uint16))),
        "one pixel": ("dot.png", png.getvalue()),
        "truncated": ("cut.tif", whole[: len(whole) * 2 // 3]),
        "pickle": ("objects.npy", _pickled()),
    }


def _pickled() -> bytes:
    out = io.BytesIO()
    np.save(out, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return out.getvalue()
