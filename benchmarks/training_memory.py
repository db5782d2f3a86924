"""Peak memory of one optimiser step of SatCLIP on the CPU, for a batch far larger than a chunk.

    python -m benchmarks.training_memory FOLDER [--batch 2048] [--chunk 16] [--frozen]

FOLDER holds a few Sentinel-2 patches of 256 pixels with an index.csv; they are named again and again until they fill a
batch, at places of their own. The figure is the process's largest resident size, so it counts Python and torch too.
"""

from __future__ import annotations

import argparse
import csv
import resource
import tempfile
import time
from pathlib import Path

import numpy as np


def main() -> None:
    """Run the step and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--chunk", type=int, default=16)
    parser.add_argument("--layers", default="moco_resnet18")
    parser.add_argument("--frozen", action="store_true", help="the trunk does not learn")
    given = parser.parse_args()

    from data.land import sample_land
    from data.patch_folder import open_folder
    from model.recipes import FolderConfig
    from model.run import RunOptions
    from model.satclip import SatCLIPConfig
    from model.train_satclip import train_satclip

    names = open_folder(given.folder).names
    lonlat = sample_land(given.batch, rng=np.random.default_rng(0))
    recipe = FolderConfig(
        name="memory",
        network=SatCLIPConfig(vision_layers=given.layers, legendre_polys=40),
        trunk="random",
        freeze_trunk=given.frozen,
        batch=given.batch,
        chunk=given.chunk,
        accumulate=1,
        epochs=1,
        validation_share=0.0,
    )
    with tempfile.TemporaryDirectory() as scratch:
        data, out = Path(scratch) / "data", Path(scratch) / "run"
        for folder in (data, out):
            folder.mkdir()
        (data / "images").symlink_to(given.folder.resolve())
        rows = [(names[n % len(names)], *place) for n, place in enumerate(lonlat.tolist())]
        with (data / "index.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("fn", "lon", "lat"), *rows])
        start = time.perf_counter()
        train_satclip(recipe, data, out, options=RunOptions(accelerator="cpu", precision="fp32"))
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9  # kilobytes on Linux
    print(f"{given.layers}, trunk {'frozen' if given.frozen else 'learns'}, batch {given.batch}, chunk {given.chunk}: ")
    print(f"peak {peak_gb:.2f} GB, {time.perf_counter() - start:.0f} s with reading every patch once before")


if __name__ == "__main__":
    main()
