"""A dataset as a training sees it: patches by row, as in a folder.

Owns the choice between the two. Whatever `samewhere data add` or `stac` brought in can so be trained on, wherever its
pixels lie.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.catalogue import Catalogue, dataset_names, dataset_path
from data.errors import PatchError
from data.patch import Patch
from data.patch_folder import PatchFolder, open_folder

NEEDED = ("id", "lon", "lat", "bands", "gsd_m", "acquired", "level", "cloud_percent", "root", "address", "pixels")


@dataclass(frozen=True)
class DatasetPatches(PatchFolder):
    """The patches of a dataset; their names are its ids.

    Attributes:
        rows: of the dataset, by id.
    """

    rows: Mapping[str, Mapping[str, Any]]

    def patch(self, row: int) -> Patch:
        """One patch."""
        # Opened once in each process: workers of a training must not share a connection.
        return _opened(self.folder, os.getpid()).read_row(self.rows[self.names[row]]).patch


@functools.lru_cache(maxsize=4)
def _opened(folder: Path, _process: int) -> Catalogue:
    return Catalogue(folder)


def open_patches(data: str | Path) -> PatchFolder:
    """Open what a training is given; no patch is read.

    Args:
        data: a folder with an ``index.csv``, or the name of a dataset.

    Raises:
        PatchError: it is neither, or holds no patch.
        SourceError: the dataset is damaged.
    """
    if Path(data).is_dir() or str(data) not in dataset_names():
        try:
            return open_folder(Path(data))
        except PatchError as error:
            there = ", ".join(dataset_names()) or "none yet"
            raise PatchError(f"{error} Or give the name of a dataset; there are: {there}.") from error
    folder = dataset_path(str(data))
    rows = Catalogue(folder).query().select(NEEDED).to_pylist()
    if not rows:
        raise PatchError(f"The dataset {data} is empty. `samewhere data add` fills it.")
    lonlat = np.array([(row["lon"], row["lat"]) for row in rows], dtype=np.float64)
    return DatasetPatches(folder, tuple(row["id"] for row in rows), lonlat, {row["id"]: row for row in rows})
