"""Files to upload: a good patch, and each of the bad ones."""

from __future__ import annotations

import csv
import io

import numpy as np
from PIL import Image

from benchmarks.visitor import blue_marble_patch, geotiff
from data import atlas
from data.land import sample_land


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
