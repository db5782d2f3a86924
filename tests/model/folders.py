"""A small folder of patches and a small recipe, for the tests of training on folders."""

import csv
from dataclasses import replace

import numpy as np
import rasterio

from model.recipes import FolderConfig
from model.satclip import SatCLIPConfig

SIDE = 24  # the smallest file is then above the 10 kB below which a patch is left out

NETWORK = SatCLIPConfig(
    embed_dim=16,
    image_resolution=SIDE,
    vision_layers=1,
    vision_width=64,
    vision_patch_size=8,
    legendre_polys=4,
    capacity=16,
    learning_rate=3e-3,
)
TINY = FolderConfig(
    name="tiny",
    network=NETWORK,
    trunk="random",
    freeze_trunk=False,
    batch=12,
    chunk=4,
    accumulate=1,
    epochs=2,
    schedule="cosine",
    warmup_steps=2,
    validation_share=0.2,
    block_share=0.1,
)


def write_tif(path, pixels):
    with rasterio.open(
        path, "w", driver="GTiff", count=len(pixels), height=pixels.shape[1], width=pixels.shape[2], dtype=pixels.dtype
    ) as file:
        file.write(pixels)


def make_folder(folder, count=60, *, side=SIDE, seed=3):
    """Patches whose brightness tells their latitude."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    lonlat = np.stack([rng.uniform(-180, 180, count), np.degrees(np.arcsin(rng.uniform(-1, 1, count)))], axis=1)
    with (folder / "index.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("fn", "lon", "lat"))
        for number, (lon, lat) in enumerate(lonlat):
            write_tif(folder / f"patch_{number}.tif", patch(rng, lat, side))
            writer.writerow((f"patch_{number}.tif", lon, lat))
    return folder


def patch(rng, lat, side):
    level = 200 + 40 * (lat + 90)
    return np.clip(rng.normal(level, 100, (12, side, side)), 1, 9000).astype(np.uint16)


def tiny(**changes):
    return replace(TINY, **changes)
