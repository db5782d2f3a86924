"""Georeferenced stacks that GDAL writes, for the tests of the sources."""

import csv
import io
import tarfile

import numpy as np
import rasterio
from rasterio.transform import from_origin

UTM_PLACES = {32722: (-51.0, -22.6), 32654: (141.0, 35.0), 32601: (-177.0, 65.0), 32733: (15.0, -30.0)}
SIDE = 64


def stack_bytes(
    crs="EPSG:32722", *, x=499_680.0, y=7_500_000.0, gsd=10.0, bands=12, side=SIDE, seed=0, transform=None, **profile
):
    """A GeoTIFF of digital numbers, north up, with its top left corner at ``x`` and ``y``."""
    pixels = np.random.default_rng(seed).integers(1, 9000, (bands, side, side)).astype(np.uint16)
    if crs is not None and transform is None:
        transform = from_origin(x, y, gsd, gsd)
    with rasterio.MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            count=bands,
            height=side,
            width=side,
            dtype="uint16",
            crs=crs,
            **({} if transform is None else {"transform": transform}),
            **profile,
        ) as file:
            file.write(pixels)
        return bytes(memory.getbuffer())


def write_index(folder, rows):
    with (folder / "index.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("fn", "lon", "lat"), *rows])


def write_tar(path, members, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path
