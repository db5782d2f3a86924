"""Reading Sentinel-2 patches: ``read_patch`` beside rasterio alone on the same files.

    python -m benchmarks.reading [--folder ../shared/s2] [--patches 100] [--rounds 7]

``read_patch`` gives reflectance by band, place, outline, GSD and date, checked; rasterio alone opens the file and reads
its numbers. From files and from bytes in memory, on one core. Where the real patches are not there, patches of noise of
the same shape are made. A share of .70 is wanted.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path

import numpy as np
import rasterio
from rasterio.io import MemoryFile
from rasterio.transform import from_origin

from benchmarks.snapshots import scratch
from benchmarks.timing import Result, in_turns, main, peak_mb, timed_row
from data.patch import read_patch

QUICK = {"folder": Path("none"), "patches": 4, "rounds": 1}
REAL = Path(__file__).parents[2] / "shared" / "s2"


def patch_files(folder: Path) -> list[Path]:
    """GeoTIFFs of 12 bands, 256 × 256, 10 m: real ones, or noise."""
    found = sorted(folder.glob("*.tif"))
    if found:
        return found
    path = scratch() / "noise.tif"
    values = np.random.default_rng(0).integers(500, 1500, (12, 256, 256)).astype(np.uint16)
    shape = {"count": 12, "width": 256, "height": 256, "dtype": "uint16", "compress": "deflate"}
    place = {"crs": 32633, "transform": from_origin(5e5, 5e6, 10, 10)}
    with rasterio.open(path, "w", driver="GTiff", **shape, **place) as out:
        out.write(values)
    return [path]


def run(folder: Path = REAL, patches: int = 100, rounds: int = 7) -> Result:
    """Read the same patches both ways, in turns."""
    files = patch_files(folder)
    chosen = [files[number % len(files)] for number in range(patches)]
    contents = [path.read_bytes() for path in chosen]

    def alone() -> None:
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
            for path in chosen:
                with rasterio.open(path, driver="GTiff") as dataset:
                    dataset.read()

    def alone_in_memory() -> None:
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
            for content in contents:
                with MemoryFile(content) as file, file.open(driver="GTiff") as dataset:
                    dataset.read()

    rows = []
    kinds = {
        "from files": {
            "read_patch": lambda: deque((read_patch(path) for path in chosen), maxlen=0),
            "rasterio alone": alone,
        },
        "from bytes": {
            "read_patch": lambda: deque((read_patch(content, name="patch.tif") for content in contents), maxlen=0),
            "rasterio alone": alone_in_memory,
        },
    }
    for part, candidates in kinds.items():
        times = in_turns(candidates, rounds=rounds)
        rows += [
            timed_row(
                name,
                times,
                peer="rasterio alone",
                count=patches,
                unit="patches a second",
                memory_mb=peak_mb(candidates[name]),
                part=part,
            )
            for name in candidates
        ]
    kind = "real patches of S2-100K" if len(files) > 1 else "patches of noise"
    return Result(f"Reading {patches} GeoTIFFs of 12 bands, 256 × 256 ({kind}), one core; wanted is .70.", tuple(rows))


if __name__ == "__main__":
    main(run, QUICK)
