"""What a Sentinel-2 product says of itself: level, time, scale, and where its images lie.

Owns the layout of SAFE, in a folder or in a zip archive that is never unpacked. Refuses products of other levels than
L1C and L2A, those with more than one granule (the format before December 2016), and those that lack a band or a number
without which their pixels mean nothing.

Source:
    ESA, Sentinel-2 Products Specification Document v14.9: product structure §3.4; ``BOA_ADD_OFFSET`` and
    ``RADIO_ADD_OFFSET`` by band_id, 0…12 in the order of the instrument's bands.
"""

from __future__ import annotations

import lzma
import math
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

from data.bands import L1C_BANDS, L2A_BANDS
from data.errors import SourceError
from data.sources.base import Level

NATIVE_GSD_M = dict.fromkeys(L1C_BANDS, 20) | dict.fromkeys(("B02", "B03", "B04", "B08"), 10)
NATIVE_GSD_M |= dict.fromkeys(("B01", "B09", "B10"), 60)
"""Metres a pixel as the instrument takes each band. L2A also has copies at coarser ones, and B01 at 20 m."""
MAX_XML_BYTES = 16 * 1024 * 1024
_BROKEN_ARCHIVE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError)
_METADATA = re.compile(r"(?:^|/)MTD_MSIL(1C|2A)\.xml$")
_IMAGE = re.compile(r"/?GRANULE/([^/]+)/IMG_DATA/(?:R\d\dm/)?[^/]+_(B\d[\dA]|SCL)(?:_(\d\d)m)?\.jp2")


@dataclass(frozen=True)
class Product:
    """One product.

    Attributes:
        level: "L1C" or "L2A".
        acquired: in UTC.
        quantification: digital numbers a unit of reflectance.
        offsets: by band, to take off the digital numbers; 0 or 1000.
        images: by band, in the order of the level's bands, as GDAL opens them; each at its native GSD.
        classes: the scene classification at 20 m, or "" where there is none.
    """

    level: Level
    acquired: datetime
    quantification: float
    offsets: Mapping[str, float]
    images: Mapping[str, str]
    classes: str = ""


def read_product(path: Path) -> Product:
    """Read the metadata of a product; no image is opened.

    Args:
        path: the .SAFE folder, or a zip archive with one in it.

    Raises:
        SourceError: it is damaged or incomplete, or no such product.
    """
    try:
        if path.is_dir():
            names = [file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()]
            metadata, level = _metadata_of(path, names)
            with (path / metadata).open("rb") as stream:
                text = stream.read(MAX_XML_BYTES + 1)
            prefix = str(path)
        else:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
                metadata, level = _metadata_of(path, names)
                with archive.open(metadata) as member:
                    text = member.read(MAX_XML_BYTES + 1)
            prefix = f"/vsizip/{{{path.resolve()}}}"
        if len(text) > MAX_XML_BYTES:
            raise SourceError(f"{path.name}: {metadata} is larger than {MAX_XML_BYTES >> 20} MB, so it is no metadata.")
        root = ElementTree.fromstring(text)
    except (OSError, EOFError, RuntimeError, ValueError, LookupError, SyntaxError, *_BROKEN_ARCHIVE) as error:
        # LookupError and ValueError: an encoding that does not exist, or that the parser does not take
        raise SourceError(f"{path.name}: the product is damaged ({str(error)[:200]}). Download it again.") from error
    images, classes = _images(path, prefix, names, metadata.rpartition("/")[0], level)
    quantification, offsets = _scale(path, root, level)
    return Product(level, _time(path, root), quantification, offsets, images, classes)


def _metadata_of(path: Path, names: Sequence[str]) -> tuple[str, Level]:
    found = [(name, match[1]) for name in names if (match := _METADATA.search(name))]
    if len(found) != 1:
        raise SourceError(
            f"{path.name}: {len(found)} files MTD_MSIL1C.xml or MTD_MSIL2A.xml; a product has one. "
            "Give one product a folder or archive."
        )
    return found[0][0], "L1C" if found[0][1] == "1C" else "L2A"


def _images(path: Path, prefix: str, names: Sequence[str], product: str, level: Level) -> tuple[dict[str, str], str]:
    """By band the image at its native GSD, and the scene classification."""
    granules, found = set(), {}
    for name in names:
        if name.startswith(product) and (match := _IMAGE.fullmatch(name.removeprefix(product))):
            granule, band, gsd_m = match.groups()
            granules.add(granule)
            if gsd_m is None or int(gsd_m) == NATIVE_GSD_M.get(band, 20):
                found[band] = f"{prefix}/{name}"
    wanted = L1C_BANDS if level == "L1C" else L2A_BANDS
    missing = [band for band in wanted if band not in found]
    if missing:
        raise SourceError(
            f"{path.name}: the image of {', '.join(missing)} is missing from IMG_DATA. Download the product again."
        )
    if len(granules) > 1:
        raise SourceError(
            f"{path.name}: {len(granules)} granules, as products had before December 2016; one is wanted. "
            "Use a later product, or the reprocessed one of Collection 1."
        )
    return {band: found[band] for band in wanted}, found.get("SCL", "")


def _scale(path: Path, root: ElementTree.Element, level: Level) -> tuple[float, dict[str, float]]:
    """Quantification, and by band what to take off; products before baseline 04.00 have no offsets."""
    names = (
        ("QUANTIFICATION_VALUE",) if level == "L1C" else ("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE")
    )
    texts = [element.text or "" for name in names for element in root.iter(name)]
    try:
        quantification = float(texts[0])
        given = {
            L1C_BANDS[int(element.get("band_id", ""))]: -float(element.text or "")
            for element in root.iter("RADIO_ADD_OFFSET" if level == "L1C" else "BOA_ADD_OFFSET")
        }
    except (ValueError, IndexError) as error:
        raise SourceError(
            f"{path.name}: {names[0]} or an offset in MTD_MSI{level}.xml is missing or no number ({str(error)[:100]}). "
            "Download the product again."
        ) from error
    wanted = L1C_BANDS if level == "L1C" else L2A_BANDS
    without = [band for band in wanted if band not in given] if given else []
    if without or not 0 < quantification < math.inf or not all(map(math.isfinite, given.values())):
        numbers = f"{names[0]} {texts[0][:40]}, or an offset that is not finite"
        wrong = f"no offset for {', '.join(without)} though others have one" if without else numbers
        raise SourceError(f"{path.name}: MTD_MSI{level}.xml has {wrong}. Download the product again.")
    return quantification, {band: given.get(band, 0.0) for band in wanted}


def _time(path: Path, root: ElementTree.Element) -> datetime:
    text = next((element.text or "" for element in root.iter("PRODUCT_START_TIME")), "")
    try:
        moment = datetime.fromisoformat(text.strip())
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:  # in UTC, the first and the last day may lie outside the calendar
        raise SourceError(f"{path.name}: PRODUCT_START_TIME is {text[:60]!r}, which is no time.") from error
