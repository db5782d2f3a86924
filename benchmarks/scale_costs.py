"""What one tile costs on one core: reading, embedding, writing, and its part of an approximate index.

    python -m benchmarks.scale_costs [--out benchmarks/scale_costs.json]

Measures on a small shard, with one thread, the least of several rounds, and writes JSON that ``benchmarks.scale``
projects from. The tiles are the real Sentinel-2 patches that lie beside the checkout, or, where there are none, noise
of as many bytes. The image encoder is a ResNet-50 of the official shape with random weights: time does not depend on
them.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

DIM = 256
LISTS = 1024
REAL = Path(__file__).parents[2] / "shared" / "s2"


def least(run: Callable[[], object], rounds: int) -> float:
    """Seconds of the fastest round: what others do on the machine only adds."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def tile_files() -> list[bytes]:
    """GeoTIFFs of 12 bands, 256 × 256, 10 m."""
    found = [path.read_bytes() for path in sorted(REAL.glob("*.tif"))]
    if found:
        return found
    import rasterio
    from rasterio.transform import from_origin

    values = np.random.default_rng(0).integers(500, 1500, (12, 256, 256)).astype(np.uint16)
    with rasterio.MemoryFile() as file:
        shape = {"count": 12, "width": 256, "height": 256, "dtype": "uint16", "compress": "deflate"}
        with file.open(driver="GTiff", crs=32633, transform=from_origin(5e5, 5e6, 10, 10), **shape) as out:
            out.write(values)
        return [file.read()]


def tile_costs() -> dict[str, float]:
    """Seconds and bytes a tile: read, embed, write; and seconds a worker takes to come up."""
    import torch

    from data.patch import read_patch
    from model.satclip import SatCLIPConfig, SatCLIPNetwork, SatCLIPPair

    torch.set_num_threads(1)
    files = tile_files()
    patches = [read_patch(content, name="tile") for content in files]
    network = SatCLIPNetwork(SatCLIPConfig(vision_layers="moco_resnet50", legendre_polys=40), part="pair")
    pair = SatCLIPPair(network, name="random", fingerprint="0" * 64, card={}, dtype="float32")
    batch = [patches[number % len(patches)] for number in range(8)]
    pair.encode_image(batch[:2])
    boot = [sys.executable, "-c", "from model import load; load('blue-marble-l40')"]
    return {
        "file_bytes": float(np.mean([len(content) for content in files])),
        "read_s": least(lambda: [read_patch(content, name="tile") for content in files], 5) / len(files),
        "embed_s": least(lambda: pair.encode_image(batch), 4) / len(batch),
        "start_s": least(lambda: subprocess.run(boot, check=True), 2),
    } | row_costs()


def row_costs(rows: int = 2048) -> dict[str, float]:
    """Seconds and bytes to make and write one row of a shard, with a thumbnail of 4 kB."""
    from indexer.rows import make_rows, open_writer

    rng = np.random.default_rng(0)
    lonlat = np.stack([rng.uniform(5, 15, rows), rng.uniform(40, 50, rows)], axis=1)
    vectors = rng.normal(size=(rows, DIM)).astype(np.float32)
    ids = [f"{number:032x}" for number in range(rows)]
    columns: dict[str, Sequence[Any]] = {"source": ["s2"] * rows, "thumbnail": [rng.bytes(4096) for _ in range(rows)]}
    file = io.BytesIO()

    def write() -> None:
        file.seek(0)
        table = make_rows("tiles", ids, lonlat=lonlat, vectors=vectors, columns=columns)
        with open_writer(file, table.schema) as writer:
            writer.write_table(table)

    write()
    return {"write_s": least(write, 3) / rows, "row_bytes": len(file.getvalue()) / rows}


def index_costs(rows: int = 65_536) -> dict[str, float]:
    """Of IVF with RaBitQ codes: multiplications a second while vectors are assigned to lists, seconds to code one."""
    import faiss

    faiss.omp_set_num_threads(1)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(rows, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    coarse = faiss.IndexFlatIP(DIM)
    coarse.add(vectors[:LISTS])
    assign_s = least(lambda: coarse.search(vectors, 1), 3)
    made: list[Any] = []

    def build() -> None:
        index = faiss.IndexIVFRaBitQ(coarse, DIM, LISTS, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors[:LISTS])
        index.add(vectors)
        made.append(index)

    build_s = least(build, 3)
    code = made[-1].code_size + 8  # and the row number
    return {
        "assign_mults_per_s": rows * LISTS * DIM / assign_s,
        "code_s": max(build_s - assign_s, 0.0) / rows,
        "code_bytes": float(code),
    }


def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    given = parser.parse_args()
    costs = tile_costs() | index_costs()
    text = json.dumps({name: float(f"{value:.4g}") for name, value in costs.items()}, indent=2)
    given.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
