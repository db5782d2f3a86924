"""GeoTIFFs as they lie in a folder, or as a pattern finds them.

Owns the listing of such files and the places that an ``index.csv`` at their root gives them. Refuses folders and
patterns without a GeoTIFF; a file that does not read costs that file alone.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from data.errors import PatchError, SourceError
from data.patch import MAX_BYTES
from data.patch_folder import open_folder
from data.sources.base import Record
from data.sources.geotiff import read_geotiff

SUFFIXES = (".tif", ".tiff")
Places = Mapping[str, tuple[float, float]]


class GeoTiffSource:
    """GeoTIFFs below one root, each a patch.

    Attributes:
        kind: "geotiff".
        addresses: paths of the files relative to the root, sorted.
        root: folder in which ``index.csv`` is looked for.
        places: (lon, lat) in degrees by the name that ``index.csv`` has for a file.
    """

    kind: str = "geotiff"

    def __init__(self, root: Path, files: Iterable[Path]) -> None:
        """List the files; none is opened.

        Raises:
            SourceError: there is none.
            PatchError: the index cannot be used.
        """
        self.root = root
        self.addresses: Sequence[str] = sorted(path.relative_to(root).as_posix() for path in files)
        if not self.addresses:
            raise SourceError(f"{root}: no GeoTIFF (.tif, .tiff) there. Check the path.")
        self.places = index_places(root)

    def read(self, address: str) -> Record:
        """Read one file; see :func:`data.sources.geotiff.read_geotiff`.

        Raises:
            PatchError: it cannot be read as a patch, has no place, or one that cannot be right.
        """
        return read_geotiff(file_bytes(self.root / address), address, place=place_of(self.places, address))


def open_geotiffs(spec: str | Path) -> GeoTiffSource:
    """Every GeoTIFF in a folder and below it, those that a pattern finds (``**`` goes down), or one.

    Raises:
        SourceError: there is none.
        PatchError: the index at the root cannot be used.
    """
    path = Path(spec).expanduser()
    if path.is_dir():
        return GeoTiffSource(path, _geotiffs(path.rglob("*")))
    if path.is_file():
        return GeoTiffSource(path.parent, [path])
    parts = path.parts
    fixed = next((number for number, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    root = Path(*parts[:fixed])
    if fixed == len(parts):
        raise SourceError(f"{spec}: there is no such file or folder. Check the path.")
    found = _geotiffs(Path(name) for name in glob.iglob(str(path), recursive=True))
    if not found:
        raise SourceError(f"{spec}: the pattern finds no GeoTIFF (.tif, .tiff). Check it, and quote it for the shell.")
    return GeoTiffSource(root, found)


def index_places(root: Path) -> Places:
    """Places by file name that ``index.csv`` gives; none where there is no such file.

    Raises:
        PatchError: it cannot be used.
        CoordinateError: a place is off the globe.
    """
    if not (root / "index.csv").is_file():
        return {}
    index = open_folder(root)
    return {name: (lon, lat) for name, (lon, lat) in zip(index.names, index.lonlat.tolist(), strict=True)}


def place_of(places: Places, address: str) -> tuple[float, float] | None:
    """What an index says of a path: it may name all of it or its last part."""
    return places.get(address, places.get(address.rsplit("/", 1)[-1]))


def file_bytes(path: Path, start: int = 0, size: int = MAX_BYTES + 1) -> bytes:
    """Content of a file or of a part of it, but no more than one byte beyond what a patch may have.

    Raises:
        PatchError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(min(size, MAX_BYTES + 1))  # with one byte too many read_patch says why it refuses
    except OSError as error:
        raise PatchError(f"{path.name}: cannot be read ({error.strerror or error}). Check the file.") from error


def _geotiffs(paths: Iterable[Path]) -> list[Path]:
    return [
        path for path in paths if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
