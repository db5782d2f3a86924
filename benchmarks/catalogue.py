"""Opening a dataset of a million patches and asking it: time, and whether memory grows with the dataset.

    python -m benchmarks.catalogue [--rows 1000000]

The rows are drawn over land and written as `samewhere data add` writes them. Opening and asking for a bounding box, a
range of dates and a limit of cloud is timed in a process of its own for each size, after its imports, with the files in
the system's cache; the resident size counts what came on top of the imports.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import shapely

from benchmarks.timing import Result, Row, Times, main

QUICK = {"rows": 20_000}

ASK = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from data.catalogue import Catalogue
from data.geo import BBox

def resident(field):
    return int(Path("/proc/self/status").read_text().split(field + ":")[1].split()[0]) / 1024

before, start = resident("VmRSS"), time.perf_counter()
catalogue = Catalogue(Path(sys.argv[1]))
found = catalogue.query(
    bbox=BBox(5, 44, 15, 48),
    after=datetime(2021, 5, 1, tzinfo=UTC),
    before=datetime(2021, 9, 1, tzinfo=UTC),
    max_cloud_percent=10,
)
seconds = time.perf_counter() - start
again = time.perf_counter()
catalogue.query(bbox=BBox(-60, -10, -50, 0), max_cloud_percent=10, limit=100)
print(len(found), seconds, time.perf_counter() - again, resident("VmHWM") - before)
"""


def write(folder: Path, rows: int) -> None:
    """A dataset of so many drawn patches."""
    from data import atlas
    from data.geo import cell_of, cell_parent
    from data.ingest import write_rows
    from data.land import sample_land
    from data.rows import FINEST, SCHEMA

    rng = np.random.default_rng(0)
    lonlat = sample_land(rows, rng=rng)
    finest = cell_of(lonlat, FINEST)
    half = 0.0115
    box = {"xmin": lonlat[:, 0] - half, "ymin": lonlat[:, 1] - half, "xmax": lonlat[:, 0] + half, "ymax": lonlat[:, 1]}
    corners = [pa.array(values) for values in box.values()]
    start = np.datetime64("2017-01-01T00:00:00", "us")
    columns = {
        "id": pa.array([f"{value:032x}" for value in rng.integers(0, 2**62, rows).tolist()]),
        **{f"h3_{r}": pa.array(cell_parent(finest, r)) for r in range(FINEST + 1)},
        "lon": pa.array(lonlat[:, 0]),
        "lat": pa.array(lonlat[:, 1]),
        "acquired": pa.array(start + rng.integers(0, 8 * 365 * 86_400, rows) * 1_000_000, pa.timestamp("us", tz="UTC")),
        "cloud_percent": pa.array(rng.uniform(0, 100, rows).astype(np.float32)),
        "nodata_percent": pa.array(np.zeros(rows, dtype=np.float32)),
        "country": pa.array(atlas.country_of(lonlat).tolist()),
        "level": pa.array(["L2A"] * rows),
        "bands": pa.array([["B02", "B03", "B04"]] * rows, pa.list_(pa.string())),
        "gsd_m": pa.array(np.full(rows, 10, dtype=np.float32)),
        "height": pa.array(np.full(rows, 256, dtype=np.int32)),
        "width": pa.array(np.full(rows, 256, dtype=np.int32)),
        "kind": pa.array(["s2-100k"] * rows),
        "root": pa.array(["/data/s2-100k"] * rows),
        "address": pa.array([f"shard-{n // 1000:05d}.tar#patch_{n}.tif" for n in range(rows)]),
        "pixels": pa.nulls(rows, pa.string()),
        "bbox": pa.StructArray.from_arrays(corners, fields=list(SCHEMA.field("bbox").type)),
        "geometry": pa.array(shapely.to_wkb(shapely.box(*(values for values in box.values()))).tolist(), pa.binary()),
    }
    table = pa.table([columns[field.name] for field in SCHEMA], schema=SCHEMA)
    folder.mkdir()
    write_rows(folder, table.sort_by([("h3_7", "ascending"), ("id", "ascending")]))


def run(rows: int = 1_000_000) -> Result:
    """Write datasets of three sizes and ask each."""
    table = []
    with tempfile.TemporaryDirectory() as scratch:
        for count in (rows // 100, rows // 10, rows):
            folder = Path(scratch) / str(count)
            write(folder, count)
            runs = []
            for _ in range(5):
                done = subprocess.run([sys.executable, "-c", ASK, folder], capture_output=True, text=True, check=True)
                runs.append([float(word) for word in done.stdout.split()])
            found, first, again, memory = zip(*runs, strict=True)
            value, low, high = Times(first).spent()
            more = {"asked again, ms": Times(again).spent()[0], "found": int(found[0])}
            row = Row(f"{count:,}", value, "opened and asked, ms", low, high, part="patches", more=more)
            table.append(dataclasses.replace(row, memory_mb=float(np.median(memory))))
    return Result("Opening a dataset and asking for a box, a range of dates and a limit of cloud.", tuple(table))


if __name__ == "__main__":
    main(run, QUICK)
