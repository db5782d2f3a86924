"""The downstream tasks: what a head is asked to predict from an embedding, and how its answer reads.

Owns the list of built-in variables, in one place for heads, ``samewhere predict`` and ``samewhere evaluate
downstream``: which layer of the atlas each comes from, the scale on which it is fitted and the way back to its unit.
:data:`TASKS` are the eight of the tables; :data:`EXTRA` can be predicted and evaluated by name but are in no table,
because they follow from one of the eight.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data import atlas
from data.errors import QueryError
from data.geo import Floats

Kind = Literal["regression", "classification"]
Curve = Callable[[Floats], Floats]


def identity(values: Floats) -> Floats:
    """Values as they are."""
    return values


def log10_1p(values: Floats) -> Floats:
    """The decimal logarithm of one more than each value."""
    return np.asarray(np.log10(1 + values), dtype=np.float64)


def exp10_m1(values: Floats) -> Floats:
    """Undo :func:`log10_1p`."""
    return np.asarray(10.0**values - 1, dtype=np.float64)


@dataclass(frozen=True)
class Task:
    """One variable to predict.

    Attributes:
        name: what the command line and saved heads call it.
        layer: of the atlas, from which its values come.
        title: for tables and pages.
        unit: of the values themselves; empty for classes.
        kind: "regression" or "classification".
        transform: from the layer's unit to the scale on which heads are fitted and scored.
        inverse: the way back.
        scale: what that scale is called; empty where it is the unit itself.
    """

    name: str
    layer: str
    title: str
    unit: str
    kind: Kind
    transform: Curve = identity
    inverse: Curve = identity
    scale: str = ""

    @property
    def classes(self) -> tuple[str, ...]:
        """Every class a place can have, sorted; empty for regression."""
        return _classes(self.name) if self.kind == "classification" else ()


TASKS: tuple[Task, ...] = (
    Task("temperature", "temperature", "Air temperature", "°C", "regression"),
    Task("temperature_range", "temperature_range", "Temperature range", "K", "regression"),
    Task("precipitation", "precipitation", "Precipitation", "mm", "regression", log10_1p, exp10_m1, "log10(1 + mm)"),
    Task("elevation", "elevation", "Elevation", "m", "regression"),
    Task("koppen", "koppen", "Köppen–Geiger class", "", "classification"),
    Task(
        "population_density",
        "population_density",
        "Population density",
        "people/km²",
        "regression",
        log10_1p,
        exp10_m1,
        "log10(1 + people/km²)",
    ),
    Task("night_lights", "night_lights", "Night lights", "‰", "regression", log10_1p, exp10_m1, "log10(1 + ‰)"),
    Task("country", "country", "Country", "", "classification"),
)
"""The eight tasks of the tables, in their order."""

EXTRA: tuple[Task, ...] = (Task("continent", "country", "Continent", "", "classification"),)
"""Tasks that stand in no table: a continent is a coarser country."""

_LABELS: dict[str, Callable[[ArrayLike], NDArray[np.str_]]] = {
    "koppen": atlas.koppen,
    "country": atlas.country_of,
    "continent": atlas.continent_of,
}


def find_task(name: str) -> Task:
    """A task by name, of :data:`TASKS` or :data:`EXTRA`.

    Raises:
        QueryError: there is no such task; names them all.
    """
    for task in TASKS + EXTRA:
        if task.name == name:
            return task
    known = ", ".join(task.name for task in TASKS + EXTRA)
    raise QueryError(f"There is no task {name!r}; choose one of {known}.")


def targets(task: Task, lonlat: ArrayLike) -> NDArray[Any]:
    """What a head for this task should answer at places.

    Args:
        task: one of :data:`TASKS` or :data:`EXTRA`.
        lonlat: (N, 2) degrees.

    Returns:
        (N,) float64 on the task's scale, NaN where the atlas has no value; or (N,) text for a classification, ``''``
        where there is no class. :func:`known` tells which rows have one.

    Raises:
        CoordinateError: a coordinate off the globe.
    """
    if task.kind == "classification":
        return _LABELS[task.name](lonlat)
    return task.transform(atlas.sample(task.layer, lonlat))


def known(target: NDArray[Any]) -> NDArray[np.bool_]:
    """Which entries of (N,) targets have a value: neither NaN nor empty text."""
    there = target != "" if target.dtype.kind == "U" else np.isfinite(target)
    return np.asarray(there, dtype=bool)


@cache
def _classes(name: str) -> tuple[str, ...]:
    """The classes of a classification, sorted."""
    if name == "koppen":
        return tuple(sorted(atlas.koppen_classes()))
    if name == "country":
        return tuple(sorted(atlas.countries()))
    return tuple(sorted(set(atlas.continents())))
