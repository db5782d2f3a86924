"""From a Sentinel-2 patch to the 13 channels that SatCLIP's image encoders were trained on.

Owns four translations. *Bands*: found by name whatever their order, B10 zero. *Scale*: reflectance 0…1 as it is, nodata
zero. *Ground*: the central square of as many 10 m pixels as the encoder takes; other pixel sizes are resampled onto
that square. *Size*: a patch that covers less ground than that is blown up to fill it. Refuses missing bands, and values
that nobody has divided by 10,000.

Source:
    Klemmer et al. 2023, SatCLIP, arXiv:2311.17179, §3.1 and its training code: digital numbers / 10,000, a zero B10 put
    in at index 10, no mean or deviation, crops of 256 pixels (224 for the vision transformer).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.bands import GSD_M, L1C_BANDS, L2A_BANDS, LARGEST_REFLECTANCE, canonical
from data.errors import PatchError
from data.patch import Patch, typical

CIRRUS = L1C_BANDS.index("B10")


def sentinel_stack(patch: Patch, size_px: int) -> NDArray[np.float32]:
    """The encoder's view of a patch.

    Args:
        patch: at least the 12 bands of L2A, reflectance 0…1, NaN for nodata. A B10 that is there is set to zero too:
            the encoders have seen nothing else in that channel.
        size_px: pixels on a side that the encoder takes.

    Returns:
        (13, size_px, size_px) float32 in the order of ``data.bands.L1C_BANDS``.

    Raises:
        PatchError: a band is missing, or the values are not reflectance.
    """
    name = patch.source or "patch"
    bands = [canonical(band) for band in patch.bands]
    missing = [band for band in L2A_BANDS if band not in bands]
    if missing:
        raise PatchError(
            f"{name}: SatCLIP's image encoder needs the 12 bands of Sentinel-2 L2A; {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing (the patch has {', '.join(patch.bands)}). "
            "Export all bands, or ask with a place."
        )
    values = patch.pixels[[bands.index(band) for band in L2A_BANDS]]
    check_reflectance(values, name)
    return _channels(values, size_px, patch.gsd_m or GSD_M)


def sentinel_stacks(values: NDArray[Any], size_px: int, gsd_m: NDArray[np.float64]) -> NDArray[np.float32]:
    """The encoder's view of arrays without names.

    Args:
        values: (N, 12, H, W) in the order of L2A, or (N, 13, H, W) in that of L1C; reflectance 0…1.
        size_px: pixels on a side that the encoder takes.
        gsd_m: (N,) metres a pixel.

    Returns:
        (N, 13, size_px, size_px) float32; of 13 bands B10 stays as it is given.

    Raises:
        PatchError: another shape, or the values are not reflectance.
    """
    if values.ndim != 4 or values.shape[1] not in (12, 13) or min(values.shape[2:]) < 1:
        raise PatchError(
            f"An array of images has the shape (N, 12 or 13, H, W), bands in the order {', '.join(L1C_BANDS)} "
            f"(without B10 where there are 12); got {values.shape}. Make a data.Patch to give the bands by name."
        )
    for row, image in enumerate(values):
        check_reflectance(image, f"image {row}")
    stacks = [_channels(image.astype(np.float32), size_px, side) for image, side in zip(values, gsd_m, strict=True)]
    return np.stack(stacks) if stacks else np.empty((0, len(L1C_BANDS), size_px, size_px), dtype=np.float32)


def check_reflectance(values: NDArray[Any], name: str) -> None:
    """Refuse values that are digital numbers: whole numbers, or a median far above any reflectance.

    Raises:
        PatchError: says what was seen, and how to convert.
    """
    median = typical(values)
    if values.dtype.kind in "ui" or median > LARGEST_REFLECTANCE:
        raise PatchError(
            f"{name}: the values are digital numbers, not reflectance (type {values.dtype}, median {median:,.0f}). "
            "Take off the offset of 1000 where the processing baseline is 04.00 or later, then divide by 10,000; "
            "data.read_patch does both."
        )


def _channels(values: NDArray[np.float32], size_px: int, gsd_m: float) -> NDArray[np.float32]:
    """The central square of ``size_px`` 10 m pixels, or as much of it as there is, at ``size_px`` on a side.

    Args:
        values: (12 or 13, H, W); of 12 bands a zero B10 makes 13.
        size_px: pixels on a side.
        gsd_m: metres a pixel.
    """
    height, width = values.shape[1:]
    side = min(height, width, max(1, round(size_px * GSD_M / gsd_m)))
    top, left = (height - side) // 2, (width - side) // 2
    square = np.nan_to_num(values[:, top : top + side, left : left + side], nan=0.0, posinf=0.0, neginf=0.0)
    if side != size_px:
        how = Image.Resampling.BOX if side > size_px else Image.Resampling.BILINEAR
        square = np.stack([np.asarray(Image.fromarray(band).resize((size_px, size_px), how)) for band in square])
    return square if len(square) == len(L1C_BANDS) else np.insert(square, CIRRUS, np.float32(0), axis=0)
