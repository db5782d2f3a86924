"""From digital numbers to reflectance, and bands by name.

Owns what the numbers of Sentinel-2 products mean: quantification, the offset of processing baseline 04.00, nodata,
saturated pixels, the clouds of a scene classification, and which bands a patch has in which order. Owns too how coarser
bands come onto the 10 m grid: every pixel of 20 m (60 m) becomes 2 × 2 (6 × 6) equal pixels of 10 m, so that nothing is
invented and no value crosses the edge of a patch. That is how S2-100K, on which SatCLIP was trained, was made: in each
of its patches that lie beside this checkout all 20 m and 60 m bands are such blocks. Refuses baselines that it cannot
read and bands that a patch does not have.

Source:
    ESA, Sentinel-2 Products Specification Document v14.9: reflectance = (number + offset) / quantification, §4.3.1.1;
    special values 0 NODATA and 65535 SATURATED. Level-2A Algorithm Theoretical Basis Document, scene classification.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data.bands import BASELINE_0400_OFFSET, QUANTIFICATION, canonical
from data.errors import PatchError
from data.patch import Patch

NODATA, SATURATED = 0, 65535
CLOUD_CLASSES = (8, 9, 10)
"""Of the scene classification: clouds of medium and of high probability, thin cirrus. Shadows are not among them."""


def reflectance(
    numbers: NDArray[Any], *, offset: ArrayLike = 0.0, quantification: float = QUANTIFICATION
) -> NDArray[np.float32]:
    """Reflectance of digital numbers.

    Args:
        numbers: (C, H, W) integers as the product has them.
        offset: scalar or (C,), to take off the numbers: 1000 since baseline 04.00 (metadata write it as -1000).
        quantification: digital numbers a unit of reflectance.

    Returns:
        (C, H, W) float32, about 0…1; noise over deep shadow may lie below 0. NaN where a band has no data, and where it
        is saturated: what was there is not known, only that it was brighter.
    """
    off = np.asarray(offset, dtype=np.float32).reshape(-1, 1, 1)
    values = (numbers.astype(np.float32) - off) / np.float32(quantification)
    values[(numbers == NODATA) | (numbers == SATURATED)] = np.nan
    return values


def offset_of_baseline(baseline: str) -> float:
    """Digital numbers to take off by processing baseline: 1000 from 04.00 on, 0 before.

    Args:
        baseline: "04.00", "N0400", or a product's name with "_N0400_" in it.

    Raises:
        PatchError: there is no baseline in the text.
    """
    found = re.fullmatch(r"N?(\d\d)\.?(\d\d)", baseline.strip()) or re.search(r"_N(\d\d)(\d\d)_", baseline)
    if found is None:
        raise PatchError(f"{baseline!r} names no processing baseline; expected one as 04.00, or _N0400_ in a name.")
    return BASELINE_0400_OFFSET if int(found[1] + found[2]) >= 400 else 0.0


def select_bands(patch: Patch, bands: Sequence[str]) -> Patch:
    """The same patch with some of its bands, in the order of their names.

    Args:
        patch: any.
        bands: names as ``B04``, ``b4`` or ``B8a``. Every patch has the visible ones.

    Raises:
        PatchError: a band is not there, is asked for twice, or the visible ones are left out.
    """
    wanted, there = tuple(canonical(band) for band in bands), [canonical(band) for band in patch.bands]
    missing = [band for band in wanted if band not in there]
    if missing or len(set(wanted)) < len(wanted):
        wrong = f"no band {', '.join(missing)}" if missing else f"a band asked for twice ({', '.join(wanted)})"
        raise PatchError(f"{patch.source or 'patch'}: {wrong}; it has {', '.join(patch.bands)}, each once.")
    return dataclasses.replace(patch, pixels=patch.pixels[[there.index(band) for band in wanted]], bands=wanted)


def repeat_pixels(band: NDArray[Any], factor: int) -> NDArray[Any]:
    """A band on a grid ``factor`` times finer, each pixel repeated: (H, W) to (factor · H, factor · W)."""
    return band if factor == 1 else band.repeat(factor, axis=0).repeat(factor, axis=1)


def cloud_percent(classes: NDArray[Any], *, clouds: Sequence[int] = CLOUD_CLASSES, nodata: int | None = 0) -> float:
    """Share of the pixels with data that lie under cloud.

    Args:
        classes: (H, W) of a scene classification.
        clouds: the classes that count.
        nodata: the class without data, or None where there is no such class.

    Returns:
        0…100; 0 where there is no data at all.
    """
    seen = classes.size if nodata is None else np.count_nonzero(classes != nodata)
    return float(100 * np.count_nonzero(np.isin(classes, clouds)) / max(1, seen))
