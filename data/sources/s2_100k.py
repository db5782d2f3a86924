"""S2-100K as it is distributed: tar shards read in place, or the images unpacked into ``images/``.

Owns the two layouts of the dataset (``data/shard-*.tar`` or ``images/*.tif``, each beside ``index.csv``) and what its
paper leaves out. Refuses patches of other than the twelve bands of L2A. Only what is there is listed: shards may be
fetched one by one, and an index may name more.

Source:
    Klemmer et al. 2023, SatCLIP, arXiv:2311.17179, §3.1, and its published training code, which leaves out files below
    10,000 bytes; the layout of the dataset ``torchgeo/s2-100k`` on the Hugging Face hub.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from data.bands import L2A_BANDS
from data.errors import PatchError, SkippedPatch, SourceError
from data.patch import MAX_BYTES
from data.patch_folder import MIN_BYTES
from data.sources.base import Record
from data.sources.folder import SUFFIXES, file_bytes, index_places, place_of
from data.sources.geotiff import read_geotiff
from data.sources.tar_offsets import offsets_of

TOO_SMALL = f"below {MIN_BYTES:,} bytes, mostly nodata"


@dataclasses.dataclass(frozen=True)
class _Span:
    """Where the bytes of a patch lie; a ``lost`` stretch is damage in a shard rather than a patch."""

    path: Path
    start: int
    size: int
    lost: bool = False


class S2100KSource:
    """The patches of S2-100K that are there.

    Attributes:
        kind: "s2-100k".
        addresses: "data/shard-00000.tar#patch_1.tif", shards by number and patches as they lie in them; or
            "images/patch_1.tif", sorted. A damaged stretch of a shard has an address of its own, with the byte where
            it begins.
        root: folder of ``index.csv``.
    """

    kind: str = "s2-100k"

    def __init__(self, root: Path, files: Sequence[Path]) -> None:
        """List what shards and images hold; no patch is read.

        Args:
            root: folder of ``index.csv``, where there is one.
            files: the shards, or the images.

        Raises:
            SourceError: a shard is no tar archive, or nothing is there.
            PatchError: the index cannot be used.
        """
        self.root = root
        self._spans: dict[str, _Span] = {}
        for path in sorted(files, key=_by_number):
            name = path.relative_to(root).as_posix()
            if path.suffix.lower() in SUFFIXES:
                self._spans[name] = _Span(path, 0, path.stat().st_size)
                continue
            offsets = offsets_of(path)
            for member, start, size in offsets.members:
                if Path(member).suffix.lower() in SUFFIXES and not Path(member).name.startswith("."):
                    self._spans[f"{name}#{member.removeprefix('./')}"] = _Span(path, start, size)
            for start, stop in offsets.damage:
                self._spans[f"{name}#byte {start}"] = _Span(path, start, stop - start, lost=True)
        if not self._spans:
            raise SourceError(
                f"{root}: no patch of S2-100K there (data/shard-*.tar or images/*.tif). Fetch some with "
                "`samewhere data pull s2-100k --shards 0`, or check the path."
            )
        self.addresses: Sequence[str] = list(self._spans)
        self._places = index_places(root)

    def read(self, address: str) -> Record:
        """Read one patch.

        Raises:
            SkippedPatch: its file is below 10,000 bytes.
            PatchError: it is damaged, lacks a band, or lies elsewhere than the index says.
        """
        span = self._spans.get(address)
        if span is None:
            raise PatchError(f"{address}: {self.root} has no such patch (any more). Add the source again.")
        shard = span.path.name
        if span.lost:
            raise PatchError(
                f"{address}: the shard is damaged for {span.size:,} bytes, or ends before its end; the patches "
                f"there are lost. Remove {shard} and download it again."
            )
        if span.size < MIN_BYTES:
            raise SkippedPatch(TOO_SMALL)
        content = file_bytes(span.path, span.start, span.size)
        if len(content) < min(span.size, MAX_BYTES + 1):
            raise PatchError(
                f"{address}: the shard ends within this patch, after {len(content):,} of {span.size:,} bytes. "
                f"Remove {shard} and download it again."
            )
        record = read_geotiff(content, address, place=place_of(self._places, address.rsplit("#", 1)[-1]))
        missing = [band for band in L2A_BANDS if band not in record.patch.bands]
        if missing or len(record.patch.bands) != len(L2A_BANDS):
            lacks = f"{', '.join(missing)} missing" if missing else "more than the 12 of L2A"
            raise PatchError(
                f"{address}: bands {', '.join(record.patch.bands)}: {lacks}. S2-100K has the 12 bands of L2A; "
                "put other patches into a folder of their own."
            )
        return record


def open_s2_100k(path: Path) -> S2100KSource:
    """S2-100K below a folder, or a single shard of it.

    Raises:
        SourceError: a shard is no tar archive, or nothing is there.
        PatchError: the index cannot be used.
    """
    if path.is_file():
        beside = path.parent
        in_dataset = beside.name == "data" and (beside.parent / "index.csv").is_file()
        return S2100KSource(beside.parent if in_dataset else beside, [path])
    return S2100KSource(path, shards_in(path) or _images(path))


def is_s2_100k(folder: Path) -> bool:
    """Whether a folder has one of the dataset's layouts."""
    return bool(shards_in(folder)) or ((folder / "index.csv").is_file() and (folder / "images").is_dir())


def shards_in(folder: Path) -> list[Path]:
    """Tar shards in ``data/`` of a folder, or else in the folder itself; these and no unpacked images beside them."""
    return list((folder / "data").glob("*.tar")) or list(folder.glob("*.tar"))


def _images(folder: Path) -> list[Path]:
    return [path for path in (folder / "images").glob("*") if path.suffix.lower() in SUFFIXES]


def _by_number(path: Path) -> tuple[int, str]:
    """Shard 2 comes before shard 10, whether or not their numbers are padded."""
    number = re.search(r"(\d+)\.tar$", path.name)
    return int(number[1]) if number else 0, path.as_posix()
