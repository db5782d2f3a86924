"""Sources of patches: files, folders, products and catalogues behind one small interface.

Owns the choice of a reader: the content decides what a path is, not its name. Readers are imported when needed.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import SourceError

if TYPE_CHECKING:
    from data.sources.base import Source

WANTED = (
    "Expected a GeoTIFF, a folder or a pattern of them, S2-100K (data/shard-*.tar or images/), a Sentinel-2 product "
    "(.SAFE folder or zip), MajorTOM Parquet, or .npy with a sidecar .json"
)


def open_source(spec: str | Path) -> Source:
    """Find out what lies at a path or under a pattern, and list its patches; none is read.

    Args:
        spec: file, folder, or pattern of GeoTIFFs (``*``, ``?``, ``[…]``, ``**``).

    Raises:
        SourceError: nothing is there, or nothing that can be read.
        PatchError: an index.csv cannot be used.
    """
    path = Path(spec).expanduser()
    kind = _kind_of_file(path) if path.is_file() else _kind_of_folder(path) if path.is_dir() else "geotiff"
    if kind == "s2-100k":
        from data.sources.s2_100k import open_s2_100k

        return open_s2_100k(path)
    if kind == "safe":
        from data.sources.safe import open_safe

        return open_safe(path)
    if kind == "major-tom":
        from data.sources.major_tom import open_major_tom

        return open_major_tom(path)
    if kind == "numpy":
        from data.sources.numpy_files import open_numpy

        return open_numpy(path)
    from data.sources.folder import open_geotiffs

    return open_geotiffs(spec)


def _kind_of_file(path: Path) -> str:
    from data.sources.tar_offsets import BLOCK, is_tar

    try:
        with path.open("rb") as file:
            head = file.read(BLOCK)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror or error}). Check the file.") from error
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "geotiff"
    if head[:4] == b"PAR1":
        return "major-tom"
    if head[:6] == b"\x93NUMPY":
        return "numpy"
    if is_tar(head):
        return "s2-100k"
    if head[:4] == b"PK\x03\x04" and _holds_product(path):
        return "safe"
    seen = f"starts with {head[:12]!r}" if head else "is empty"
    raise SourceError(f"{path}: no source of patches (it {seen}). {WANTED}.")


def _kind_of_folder(path: Path) -> str:
    """What most of a folder's layout says; a layout is known by the files that only it has."""
    from data.sources.s2_100k import is_s2_100k

    if any(next(path.glob(pattern), None) for pattern in ("MTD_MSIL*.xml", "*/MTD_MSIL*.xml")):
        return "safe"
    if is_s2_100k(path):
        return "s2-100k"
    if any(_holds_product(file) for file in path.glob("*.zip")):
        return "safe"
    for kind, pattern in (("geotiff", "*.[tT][iI][fF]*"), ("major-tom", "*.parquet"), ("numpy", "*.npy")):
        if next(path.rglob(pattern), None):
            return kind
    raise SourceError(f"{path}: no source of patches in this folder. {WANTED}.")


def _holds_product(path: Path) -> bool:
    """Whether a zip archive holds a Sentinel-2 product; only its directory is read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(Path(name).match("MTD_MSIL*.xml") for name in archive.namelist())
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile):
        return False
