"""Sentinel-2 products as ESA distributes them, L1C and L2A, cut into patches on their own grid.

Owns the cutting: whole squares of ``patch_px`` pixels of 10 m from the tile's top left corner; what is left at its
right and lower edge (228 of 10,980 pixels with squares of 256) belongs to none. Bands of 20 m and 60 m are repeated
onto that grid (:mod:`data.radiometry`). A zip archive is read in place. Squares without data, outside the swath, are
left out and counted; a damaged product among others costs one failure, a damaged image those patches that it hits.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window
from rasterio.windows import transform as window_transform

from data.bands import GSD_M, VISIBLE_BANDS
from data.errors import CoordinateError, PatchError, SkippedPatch, SourceError
from data.outline import outline_of
from data.patch import MIN_SIDE_PX, Patch
from data.radiometry import cloud_percent, reflectance, repeat_pixels
from data.sources.base import Record
from data.sources.safe_metadata import Product, read_product

PATCH_PX = 256
MAX_PATCH_PX = 1024
TILE_PX = 10_980
"""Pixels of 10 m on a side of every Sentinel-2 tile."""
NO_DATA = "no data: outside the swath"


@dataclass(frozen=True)
class _Tile:
    """A product and its 10 m grid."""

    product: Product
    crs: Any
    transform: Any
    height: int
    width: int


class SafeSource:
    """The patches of some products.

    Attributes:
        kind: "safe".
        addresses: "S2A_….SAFE#512,256": the product's path relative to the root, then row and column of the patch's top
            left pixel of 10 m; row by row. A product that cannot be opened has one address, its path.
        root: folder of the products.
        patch_px: pixels of 10 m on a side of a patch.
    """

    kind: str = "safe"

    def __init__(self, root: Path, products: Sequence[Path], *, patch_px: int = PATCH_PX) -> None:
        """Read the products' metadata, and of each the head of one image.

        Args:
            root: folder of the products.
            products: .SAFE folders and zip archives in it.
            patch_px: 8…1024 pixels of 10 m.

        Raises:
            SourceError: no product can be opened, or ``patch_px`` is out of bounds.
        """
        if not MIN_SIDE_PX <= patch_px <= MAX_PATCH_PX:
            raise SourceError(f"A patch of {patch_px} pixels: its side must be {MIN_SIDE_PX}…{MAX_PATCH_PX} pixels.")
        self.root, self.patch_px = root, patch_px
        self._tiles: dict[str, _Tile] = {}
        self._damaged: dict[str, str] = {}
        self._open = threading.local()  # GDAL's datasets belong to one thread
        addresses: list[str] = []
        for path in sorted(products):
            name = path.relative_to(root).as_posix()
            try:
                tile = self._tiles[name] = _tile(path)
            except SourceError as error:
                self._damaged[name] = str(error)
                addresses.append(name)
            else:
                rows, columns = (range(0, side - patch_px + 1, patch_px) for side in (tile.height, tile.width))
                addresses += [f"{name}#{row},{column}" for row in rows for column in columns]
        self.addresses: Sequence[str] = addresses
        if len(addresses) == len(self._damaged):
            none = f"{root}: no Sentinel-2 product there of at least {patch_px} pixels on a side."
            raise SourceError(none if self._tiles else next(iter(self._damaged.values()), none))

    def read(self, address: str) -> Record:
        """Read one patch.

        Returns:
            All bands of the product's level at 10 m; ``cloud_percent`` from the scene classification, None in L1C.

        Raises:
            SkippedPatch: it lies outside the swath.
            PatchError: an image is damaged or does not fit the others, or there is no such address.
        """
        if address in self._damaged:
            raise PatchError(self._damaged[address])
        found = re.fullmatch(r"(.+)#(\d+),(\d+)", address)
        tile = self._tiles.get(found[1]) if found else None
        if found is None or tile is None:
            raise PatchError(f"{address}: no product here has this address; expected one as {self.addresses[0]}.")
        row, column, size = int(found[2]), int(found[3]), self.patch_px
        if row + size > tile.height or column + size > tile.width:
            raise PatchError(f"{address}: {size} pixels from there pass the tile's edge ({tile.height}×{tile.width}).")
        product, images = tile.product, self._images(found[1], tile)
        numbers = np.stack([_square(images, band, row, column, size, tile) for band in product.images])
        pixels = reflectance(
            numbers, offset=[product.offsets[band] for band in product.images], quantification=product.quantification
        )
        visible = [list(product.images).index(band) for band in VISIBLE_BANDS]
        if not np.isfinite(pixels[visible]).all(axis=0).any():
            raise SkippedPatch(NO_DATA)
        try:
            transform = window_transform(Window(column, row, size, size), tile.transform)
            centre, outline = outline_of(tile.crs, transform, size, size)
        except CoordinateError as error:
            raise PatchError(f"{address}: wrong coordinate system: {error} Download the product again.") from error
        patch = Patch(pixels, tuple(product.images), centre, GSD_M, product.acquired, address)
        clouds = cloud_percent(_square(images, "SCL", row, column, size, tile)) if product.classes else None
        return Record(patch, address, outline, product.level, clouds)

    def _images(self, name: str, tile: _Tile) -> Mapping[str, Any]:
        """Open images of one product; they stay open, as GDAL's memory of decoded blocks goes with them.

        Its blocks are 1024 pixels wide. Measured on a tile of 2,040 pixels, L2A, one core: 11 patches of 256 pixels a
        second, 0.5 where the images are opened anew for each. A row of patches across a whole tile touches 170 MB.
        """
        if getattr(self._open, "name", None) != name:
            if hasattr(self._open, "stack"):
                self._open.stack.close()
            paths = {**tile.product.images, **({"SCL": tile.product.classes} if tile.product.classes else {})}
            with ExitStack() as stack:
                self._open.name = None
                self._open.images = {band: stack.enter_context(_opened(path, band)) for band, path in paths.items()}
                self._open.stack = stack.pop_all()
            self._open.name = name
        images: Mapping[str, Any] = self._open.images
        return images


def open_safe(path: Path, *, patch_px: int = PATCH_PX) -> SafeSource:
    """A product (.SAFE folder or zip archive), or all of them in a folder.

    Raises:
        SourceError: there is none, or none can be opened.
    """
    if path.is_file() or next(path.glob("MTD_MSIL*.xml"), None):
        return SafeSource(path.resolve().parent, [path.resolve()], patch_px=patch_px)
    folders = [metadata.parent for metadata in path.glob("*/MTD_MSIL*.xml")]
    return SafeSource(path, [*folders, *path.glob("*.zip")], patch_px=patch_px)


def _tile(path: Path) -> _Tile:
    product = read_product(path)
    try:
        with _opened(product.images[VISIBLE_BANDS[0]], VISIBLE_BANDS[0]) as image:
            crs, transform, height, width = image.crs, image.transform, image.height, image.width
    except PatchError as error:
        raise SourceError(f"{path.name}: {error}") from error
    if crs is None or transform.a != GSD_M or transform.e != -GSD_M or max(height, width) > TILE_PX:
        raise SourceError(
            f"{path.name}: {VISIBLE_BANDS[0]} is {width}×{height} pixels of {transform.a:g} m in {crs}; a tile has at "
            f"most {TILE_PX}×{TILE_PX} of {GSD_M:g} m and a coordinate system. Download the product again."
        )
    return _Tile(product, crs, transform, height, width)


def _opened(path: str, band: str) -> Any:
    try:
        return rasterio.open(path, driver="JP2OpenJPEG")
    except RasterioError as error:
        raise _damaged(band, error) from error


def _damaged(band: str, error: Exception) -> PatchError:
    return PatchError(f"The image of {band} is damaged ({str(error).splitlines()[0]}). Download the product again.")


def _square(images: Mapping[str, Any], band: str, row: int, column: int, size: int, tile: _Tile) -> NDArray[Any]:
    """A square of one band on the 10 m grid: (size, size)."""
    image = images[band]
    factor = max(1, round(tile.width / image.width))
    if (image.height * factor, image.width * factor) != (tile.height, tile.width):
        raise PatchError(
            f"The image of {band} has {image.width}×{image.height} pixels, which does not fit the tile's "
            f"{tile.width}×{tile.height} of {GSD_M:g} m. Download the product again."
        )
    top, left = row // factor, column // factor
    window = Window(left, top, -(-(column + size) // factor) - left, -(-(row + size) // factor) - top)
    try:
        coarse = image.read(1, window=window)
    except RasterioError as error:
        raise _damaged(band, error) from error
    down, across = row - top * factor, column - left * factor
    return repeat_pixels(coarse, factor)[down : down + size, across : across + size]
