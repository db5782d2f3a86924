"""Makes the rows of one shard: coordinates, countries, embeddings and thumbnails, committed as one Parquet file.

Owns what a row is made of. A shard depends on its ids, the checkpoint and the parameters, and on nothing else: not on
other shards, the clock or what was made before. So it may be made again, anywhere, with the same bytes.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data import atlas
from data.blue_marble import BlueMarble
from data.errors import CheckpointError
from data.geo import cell_lonlat
from indexer.encoder import EncoderPair
from indexer.files import durable
from indexer.plan import Shard
from indexer.rows import make_rows, open_writer

THUMBNAIL_PX = 64
"""Twice the pixels that the encoder sees on a side: north of 60° the picture has them, and galleries look better."""
JPEG_QUALITY = 88


@dataclass(frozen=True)
class BuildParameters:
    """What is to be built; stored with the index.

    Attributes:
        cell_resolution: H3 resolution of the cells that the location encoder embeds.
        tile_resolution: H3 resolution of the cells at whose centres tiles are cut.
        antarctica: whether land south of 60° S counts.
        tile_footprint_km: side of a tile on the ground; None where the checkpoint can see no Blue Marble, and the index
            has no tiles.
    """

    cell_resolution: int
    tile_resolution: int
    antarctica: bool
    tile_footprint_km: float | None
    thumbnail_px: int = THUMBNAIL_PX
    jpeg_quality: int = JPEG_QUALITY


def make_shard(path: Path, shard: Shard, *, pair: EncoderPair, parameters: BuildParameters) -> None:
    """Make one shard's rows and commit them as a Parquet file. The same shard always gives the same bytes.

    Args:
        path: the file to appear.
        shard: what to make.
        pair: the encoders.
        parameters: of the build.
    """
    lonlat = cell_lonlat(shard.ids)
    thumbnails = None
    side_km = parameters.tile_footprint_km
    if shard.kind == "tiles" and side_km is not None:
        marble = BlueMarble.open()
        vectors = pair.encode_image(marble.cut(lonlat, footprint_km=side_km), footprint_km=side_km)
        thumbnails = [
            jpeg(picture, parameters.jpeg_quality)
            for part in np.array_split(
                lonlat, -(-len(lonlat) // 32)
            )  # that few at a time fit the cache: 3 times faster
            for picture in marble.cut(part, size_px=parameters.thumbnail_px, footprint_km=side_km)
        ]
    else:
        vectors = pair.encode_location(lonlat)
    if not np.isfinite(vectors).all():
        raise CheckpointError(
            f"The checkpoint {pair.name} gave embeddings that are not numbers for {shard.file_name}: it is damaged. "
            "Choose another with --checkpoint."
        )
    rows = make_rows(
        shard.kind,
        shard.ids,
        lonlat=lonlat,
        countries=atlas.country_of(lonlat),
        vectors=vectors,
        thumbnails=thumbnails,
    )
    with durable(path) as file, open_writer(file, rows.schema) as writer:
        writer.write_table(rows)


def jpeg(picture: NDArray[np.uint8], quality: int = JPEG_QUALITY) -> bytes:
    """A (3, H, W) uint8 picture as a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(np.moveaxis(picture, 0, -1)).save(file, "JPEG", quality=quality, subsampling=0)
    return file.getvalue()


def warm_up(pair: EncoderPair, parameters: BuildParameters) -> None:
    """Open sources and run both encoders once, so that the first shard's rate is that of the others."""
    here = np.tile([[12.49, 41.89]], (256, 1))  # as many as fill the memory that a shard will use
    atlas.country_of(here)
    side_km = parameters.tile_footprint_km
    pair.encode_location(here)
    if side_km is not None:
        pair.encode_image(BlueMarble.open().cut(here, footprint_km=side_km), footprint_km=side_km)
