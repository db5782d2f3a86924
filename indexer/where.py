"""Which rows may be answered: the filters of a search, as plain data.

Owns the validity of a filter by itself; which rows it leaves is ``indexer.select``'s to say, on whatever store. All the
conditions of one :class:`Where` hold together; the alternatives within one (countries, cells, …) are ors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from reprlib import repr as short
from typing import Literal, get_args

import shapely

from data.errors import QueryError
from data.geo import BBox

Operator = Literal["=", "!=", "<", "<=", ">", ">="]
Value = float | str


@dataclass(frozen=True)
class Compare:
    """A condition on one column, as ``cloud_percent < 20`` or ``source = s2-sample``. Rows without a value fail it."""

    column: str
    operator: Operator
    value: Value

    def __post_init__(self) -> None:
        """Refuse columns without a name, operators that do not exist, values of other kinds, and NaN."""
        if not isinstance(self.column, str) or not self.column.strip():
            raise QueryError(f"A condition needs a column's name; got {repr(self.column)[:40]}.")
        if self.operator not in get_args(Operator):
            raise QueryError(f"{self.operator!r} compares nothing; use one of {' '.join(get_args(Operator))}.")
        if not isinstance(self.value, (int, float, str)):
            raise QueryError(f"{self.column} is compared with a number or a text; got {repr(self.value)[:40]}.")
        if isinstance(self.value, float) and math.isnan(self.value):
            raise QueryError(f"{self.column} cannot be compared with NaN.")

    @classmethod
    def parse(cls, text: str) -> Compare:
        """Read ``column operator value`` as typed; what reads as a number is one, unless it stands in quotes.

        Raises:
            QueryError: it is no such condition.
        """
        for operator in ("!=", "<=", ">=", "=", "<", ">"):
            column, found, value = text.partition(operator)
            if found and column.strip() and value.strip():
                plain = value.strip()
                if plain[0] == plain[-1] and plain[0] in "'\"" and len(plain) > 1:
                    return cls(column.strip(), operator, plain[1:-1])
                try:
                    return cls(column.strip(), operator, float(plain))
                except ValueError:
                    return cls(column.strip(), operator, plain)
        raise QueryError(f"{text!r} is no condition. Write a column, one of = != < <= > >=, and a value: gsd_m <= 20.")


@dataclass(frozen=True)
class Where:
    """The rows a search may answer with. Every condition that is given must hold.

    Attributes:
        bbox: the row's centre lies inside, borders included.
        polygon: the centre lies inside or on the border: a (multi)polygon in degrees.
        cells: the row lies in any of these H3 cells, of any resolution (uint64).
        countries: ISO 3166 alpha-3, any of these.
        continents: AF, AN, AS, EU, NA, OC or SA, any of these.
        climates: Köppen–Geiger codes of the row's centre or beginnings of them, any of these: ``Cfb``, or ``C`` for all
            that begin so.
        sources: of tiles, any of these.
        after: taken at this time or later; rows without a time fail.
        before: taken earlier than this; rows without a time fail.
        max_cloud_percent: not more cloud, 0…100; rows of which it is not known fail.
        compare: conditions on columns, stored ones and layers of the atlas (``elevation > 2000``).
        beyond: a point (lon, lat) and kilometres: at least that far from it.
        not_ids: none of these rows, by the id that users see.
    """

    bbox: BBox | None = None
    polygon: shapely.Geometry | None = None
    cells: tuple[int, ...] | None = None
    countries: tuple[str, ...] | None = None
    continents: tuple[str, ...] | None = None
    climates: tuple[str, ...] | None = None
    sources: tuple[str, ...] | None = None
    after: datetime | None = None
    before: datetime | None = None
    max_cloud_percent: float | None = None
    compare: tuple[Compare, ...] = ()
    beyond: tuple[tuple[float, float], float] | None = None
    not_ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Take any sequence for a tuple, and refuse a text where several values belong.

        Raises:
            QueryError: a text or something else is given that is no sequence.
        """
        for name in ("cells", "countries", "continents", "climates", "sources", "compare", "not_ids"):
            given = getattr(self, name)
            if given is None or isinstance(given, tuple):
                continue
            if isinstance(given, str) or not isinstance(given, Iterable):
                raise QueryError(f"{name} is {short(given)}; give several values in a tuple or list, as {name}=[…].")
            object.__setattr__(self, name, tuple(given))

    @property
    def is_empty(self) -> bool:
        """Whether every row passes."""
        return self == Where()
