"""How fast patches come out of tar shards, against rasterio alone on the same bytes in memory.

    python -m benchmarks.reading_tars ../shared/s2 [--patches 200] [--rounds 5]

Packs the folder's patches into a shard, over and over until there are enough, and reads it on one core through the
source (place, outline, reflectance, offset, checks) and through rasterio alone (`MemoryFile(bytes).open().read()`,
digital numbers only). The two take turns; the ratio is that of their fastest rounds. At least 70 % is wanted.
"""

from __future__ import annotations

import argparse
import os
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import rasterio
from rasterio.io import MemoryFile

from data.sources.base import ShardReport, Source, read_all
from data.sources.s2_100k import open_s2_100k

WANTED = 0.70


def main() -> None:
    """Pack, read in turns, and print the rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--patches", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    files = sorted(options.folder.glob("*.tif"))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SAMEWHERE_HOME"] = str(Path(folder, "home"))
        shard = Path(folder, "shard-00000.tar")
        with tarfile.open(shard, "w") as tar:
            for number in range(options.patches):
                tar.add(files[number % len(files)], arcname=f"patch_{number}.tif")
        source = open_s2_100k(Path(folder))
        contents = [file.read_bytes() for file in files]
        ours, alone = [], []
        for _ in range(options.rounds):
            ours.append(_seconds(lambda: _through_source(source)))
            alone.append(_seconds(lambda: _alone(contents, options.patches)))
    rates = {"samewhere": options.patches / min(ours), "rasterio alone": options.patches / min(alone)}
    for name, rate in rates.items():
        print(f"{name:<15} {rate:7.1f} patches/s  {1e3 / rate:6.2f} ms a patch")
    share = rates["samewhere"] / rates["rasterio alone"]
    print(f"share           {share:7.0%} (wanted: at least {WANTED:.0%})")


def _through_source(source: Source) -> None:
    report = ShardReport()
    for _ in read_all(source, source.addresses, report):
        pass
    if report.failed:
        raise SystemExit(f"{len(report.failed)} patches failed: {report.failed[0]}")


def _alone(contents: list[bytes], count: int) -> None:
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
        for number in range(count):
            with MemoryFile(contents[number % len(contents)]) as file, file.open(driver="GTiff") as dataset:
                dataset.read()


def _seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
