"""What a patch looks like to people: its visible bands as a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data.patch import Patch

STRETCH_PERCENT = (2.0, 98.0)


def picture(patch: Patch) -> NDArray[np.uint8]:
    """The visible bands as a picture: (H, W, 3) uint8.

    Reflectance is stretched between its 2nd and 98th percentile, all bands alike, so that colours stay true. Display
    colours are shown as they are. Nodata is black.
    """
    pixels = np.moveaxis(patch.visible(), 0, -1).astype(np.float64)
    if not patch.is_display:
        low, high = np.nanpercentile(pixels, STRETCH_PERCENT)
        pixels = (pixels - low) / max(high - low, 1e-6)
    return np.asarray(np.rint(np.clip(np.nan_to_num(pixels), 0, 1) * 255), dtype=np.uint8)
