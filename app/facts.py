"""What is known and what is predicted of a place, in words: the lines beside hits.

Owns the wording of the atlas's values and of predictions, with their units. An interval is told wherever a prediction
is, and a place that is unlike all that a head was fitted on is said to be so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from app.climates import climate_name
from app.url_state import CONTINENTS
from data import atlas
from data.geo import Floats

if TYPE_CHECKING:
    from model.predict import Prediction, Predictor

MARKUP = re.compile(r"[\\`*_\[\]<>$~#!|]")
LINK = re.compile(r":(?=//)|www(?=\.)|@", re.IGNORECASE)
"""What makes a link of an address without any markup."""
SHORT = {"temperature": "", "precipitation": "rain "}


def number_text(value: float, unit: str = "", *, own: bool = False) -> str:
    """A value with its unit, with as many digits as make sense: 12.3 °C, 1,240 mm.

    Args:
        value: the number.
        unit: of it.
        own: of a reader's variable, of which nothing is known: four digits that count.
    """
    if not np.isfinite(value):
        return "unknown"
    size = abs(value)
    if size == 0:
        return f"0 {unit}".strip()
    text = f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 1 else f"{value:.2g}"
    if own and size < 1000:
        text = f"{value:.4g}"
    return f"{text} {unit}".strip().replace("-", "−")


def plain(text: str) -> str:
    """Strangers' text for where Markdown is read: it shows as it is, and neither links nor loads anything."""
    return LINK.sub("\\g<0>\u200b", MARKUP.sub(r"\\\g<0>", text))  # no space that is seen


def climates_of(lonlat: Floats) -> list[str]:
    """The climate of each of (N, 2) places in words; '' in the sea."""
    return [climate_name(code) if code else "" for code in atlas.koppen(lonlat).tolist()]


def class_name(predictor: Predictor, name: str) -> str:
    """A class in words: climates, countries and continents by their names, a reader's own as they are."""
    if not predictor.variable.builtin:
        return name
    names = {"country": atlas.countries(), "continent": CONTINENTS}.get(predictor.variable.name, {})
    return names.get(name, climate_name(name))


def prediction_text(predictor: Predictor, found: Prediction, row: int) -> str:
    """One prediction: value and interval, or the class and its probability."""
    if found.labels is not None and found.probabilities is not None:
        share = float(found.probabilities[row].max())
        text = f"{class_name(predictor, str(found.labels[row]))}, {100 * share:.0f} %"
    else:
        unit = predictor.variable.unit
        low, high = number_text(float(found.low[row])), number_text(float(found.high[row]))
        text = f"{number_text(float(found.values[row]), unit)} ({low} to {high})"
    return text + (", unfamiliar" if found.unfamiliar[row] else "")


def lines_of(
    lonlat: Floats, predictors: Sequence[Predictor], vectors: NDArray[np.float32] | None = None
) -> list[list[str]]:
    """The lines beside (N, 2) places: climate, then predictions with their 90 % intervals.

    Args:
        lonlat: degrees.
        predictors: of one encoder.
        vectors: (N, D) embeddings of the places, where they are known; else they are encoded.
    """
    if not len(lonlat):
        return []
    lines = [[text] if text else [] for text in climates_of(lonlat)]
    for predictor, found in zip(predictors, predicted(lonlat, predictors, vectors), strict=True):
        name = predictor.variable.name
        for row, own in enumerate(lines):
            own.append(f"{SHORT.get(name, name.replace('_', ' ') + ' ')}{prediction_text(predictor, found, row)}")
    return lines


def predicted(
    lonlat: Floats, predictors: Sequence[Predictor], vectors: NDArray[np.float32] | None = None
) -> list[Prediction]:
    """What each of several predictors of one encoder says of (N, 2) places, which are encoded once for all of them."""
    if not predictors:
        return []
    if vectors is None:
        vectors = predictors[0].embed(lonlat)
    return [predictor.predict_vectors(vectors) for predictor in predictors]


def atlas_values(lonlat: Floats) -> list[dict[str, Any]]:
    """Every layer of the atlas at (N, 2) places: ``name``, ``unit``, ``text`` and ``value`` (N,) each.

    ``value`` is None for classes.
    """
    table = []
    for variable in atlas.variables():
        if variable.categorical:
            continue
        values = atlas.sample(variable.name, lonlat)
        table.append(
            {
                "name": variable.name,
                "title": variable.name.replace("_", " ").capitalize(),
                "unit": variable.unit,
                "values": values,
                "text": [number_text(float(value), variable.unit) for value in values],
            }
        )
    return table
