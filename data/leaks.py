"""Tables that give their answer away.

Owns one question: does a coordinate, or a feature column, determine the target? A column that orders the rows exactly
as the target does, or as its mirror image, is the target in another guise (its logarithm, its rank, another unit). So
is a target that is a plane over longitude and latitude, a feature whose every value has one class of its own, and a
feature that is a coordinate.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Floats = NDArray[np.float64]
EXACT = 1e-9
"""Share of the variance that may be left unexplained by what counts as the same."""


def find_leak(
    values: NDArray[Any],
    lonlat: Floats,
    extra: Floats,
    *,
    target: str,
    places: tuple[str, str],
    features: tuple[str, ...],
) -> str | None:
    """A sentence about the first leak, or None.

    Args:
        values: (n,) numbers, or classes as text.
        lonlat: (n, 2) degrees.
        extra: (n, F) feature columns.
        target: name of the target's column.
        places: names of the columns of longitudes and latitudes.
        features: names of the feature columns.
    """
    for number, name in enumerate(features):
        for axis, place in enumerate(places):
            if same_order(extra[:, number], lonlat[:, axis]):
                return (
                    f"the feature column {name!r} is a function of the coordinate {place!r} in every row; the place is "
                    "known already, so leave that feature out."
                )
        if determines(extra[:, number], values):
            return (
                f"the feature column {name!r} determines the target {target!r} in every row (a leak); a score would "
                "only say that it was copied. Leave that feature out."
            )
    if values.dtype.kind == "f":
        plane = np.column_stack([np.ones(len(values)), lonlat])
        left = values - plane @ np.linalg.lstsq(plane, values, rcond=None)[0]
        flat = float((left**2).sum()) <= EXACT * float(((values - values.mean()) ** 2).sum())
        for axis, place in enumerate(places):
            if flat or same_order(lonlat[:, axis], values):
                source = f"{places[0]!r} and {places[1]!r}" if flat else repr(place)
                return (
                    f"the target {target!r} is a function of {source} in every row (a leak); no model is needed for "
                    "it. Choose another target."
                )
    return None


def same_order(a: Floats, b: Floats) -> bool:
    """Whether two columns order the rows alike, or one the reverse of the other. Constants order nothing."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return False
    ranks = rankdata(a), rankdata(b)
    return bool(np.array_equal(*ranks) or np.array_equal(ranks[0], len(a) + 1 - ranks[1]))


def determines(feature: Floats, values: NDArray[Any]) -> bool:
    """Whether a feature's value tells the target's: in the same order, or each value with one class of its own."""
    if values.dtype.kind == "f":
        return same_order(feature, values)
    found, number = np.unique(feature, return_inverse=True)
    classes = np.unique(values, return_inverse=True)[1]
    pairs = len(np.unique(number.reshape(-1) * (int(classes.max()) + 1) + classes))
    return pairs == len(found) and len(found) <= len(values) / 5
