"""What is searched for: a place, an image, a stored row, a vector, or several of these put together.

Owns the validity of a query by itself, and its algebra: ``mix`` weighs likes and unlikes, ``any_of`` takes the best of
several, ``examples`` learns from positives and negatives. Whether an index can answer it is ``indexer.search``'s to
say; what vectors it comes to, ``indexer.ask``'s; its JSON form, ``indexer.query_json``'s. Refuses combinations that
have no meaning: a maximum inside a sum, a classifier inside anything.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from data.errors import QueryError
from data.geo import cell_lonlat, cell_to_hex, hex_to_cell, validate_lonlat
from data.patch import Patch

Kind = Literal["place", "image", "tile", "cell", "vector", "mix", "any_of", "examples"]
LonLat = tuple[float, float]

MAX_INGREDIENTS = 64
"""Places, images, rows and vectors in one query, however deep."""
MAX_DEPTH = 4
"""Levels of queries within queries, the outermost counted."""
MAX_ID_LENGTH = 200
MAX_DIM = 16_384
MAX_WEIGHT = 1e6
MAX_BACKGROUND = 10_000
DEFAULT_BACKGROUND = 1000
MAX_SEED = 2**32 - 1
PARTS_ALLOWED: dict[str, tuple[str, ...]] = {
    "mix": ("place", "image", "tile", "cell", "vector", "mix"),
    "any_of": ("place", "image", "tile", "cell", "vector", "mix", "any_of"),
    "examples": ("place", "image", "tile", "cell", "vector"),
}


@dataclass(frozen=True, eq=False)
class Query:
    """One question to an index. Make it with one of the class methods; two that say the same are equal.

    Attributes:
        kind: which sort of question it is.
        lonlat: where it lies, in degrees, or None for an image whose place is unknown, for a tile, for a vector, and
            for a combination unless all it likes lies at one place. See :attr:`places`.
        patch: the image.
        id: of a stored tile, as it was given; of a stored cell, hex.
        vector: an embedding of unit length, D numbers that float32 can hold.
        fingerprint: of the checkpoint that made the vector, 64 hex digits, or None where unknown.
        parts: the ingredients of a combination with their weights; positives of examples weigh 1, negatives -1.
        background: of examples: how many stored cells, drawn at random, stand beside the negatives.
        seed: of that draw.
    """

    kind: Kind
    lonlat: LonLat | None = None
    patch: Patch | None = field(default=None, repr=False)
    id: str | None = None
    vector: tuple[float, ...] | None = field(default=None, repr=False)
    fingerprint: str | None = None
    parts: tuple[tuple[float, Query], ...] = ()
    background: int = 0
    seed: int = 0

    @classmethod
    def place(cls, lon: float, lat: float) -> Query:
        """Ask for what resembles a place, given in degrees.

        Raises:
            CoordinateError: the point is not on the globe.
        """
        point = validate_lonlat((lon, lat), where="place")[0]
        return cls("place", lonlat=(float(point[0]), float(point[1])))

    @classmethod
    def image(cls, patch: Patch) -> Query:
        """Ask for what resembles an image. Where its place is known, hits tell their distance from it."""
        return cls("image", lonlat=patch.lonlat, patch=patch)

    @classmethod
    def tile(cls, tile_id: str) -> Query:
        """Ask for what resembles a stored tile, by its id. No encoder runs: its vector is at hand.

        Raises:
            QueryError: the id is no text, is empty or longer than 200 characters.
        """
        if not isinstance(tile_id, str) or not 0 < len(tile_id) <= MAX_ID_LENGTH:
            seen = f"{len(tile_id)} characters" if isinstance(tile_id, str) else type(tile_id).__name__
            raise QueryError(f"A tile's id is a text of 1 to {MAX_ID_LENGTH} characters, got {seen}.")
        if any("\ud800" <= character <= "\udfff" for character in tile_id):  # no store could keep it
            raise QueryError(f"A tile's id must be Unicode text, got {tile_id!r}.")
        return cls("tile", id=tile_id)

    @classmethod
    def cell(cls, cell_id: str) -> Query:
        """Ask for what resembles a stored cell, by its hex id. No encoder runs: its vector is at hand.

        Raises:
            CoordinateError: the text is not an H3 cell id.
        """
        cell = hex_to_cell(cell_id)
        lon, lat = cell_lonlat([cell])[0].tolist()
        return cls("cell", lonlat=(lon, lat), id=cell_to_hex([cell])[0])

    @classmethod
    def from_vector(cls, vector: ArrayLike, *, fingerprint: str | None = None) -> Query:
        """Ask for what resembles an embedding at hand.

        Args:
            vector: (D,) numbers; brought to unit length if they are not.
            fingerprint: of the checkpoint that made it; where given, an index of another one refuses the query.

        Raises:
            QueryError: it is no such vector, or has no direction.
        """
        try:
            given = np.asarray(vector, dtype=np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise QueryError(f"A query vector must be a list of numbers ({error}).") from error
        if given.ndim != 1 or not 0 < len(given) <= MAX_DIM:
            raise QueryError(f"A query vector is one row of 1 to {MAX_DIM:,} numbers, got shape {given.shape}.")
        peak = float(np.abs(given).max())
        if not 0 < peak < math.inf:  # NaN included
            raise QueryError("A query vector must be finite and have a direction: this one holds NaN, or only zeros.")
        length = float(np.linalg.norm(given / peak)) * peak
        if abs(length - 1) > 9e-6:  # below 1e-5 in float32 too; a unit vector keeps its bits
            given = given / peak / np.linalg.norm(given / peak)
        if fingerprint is not None and not re.fullmatch("[0-9a-f]{64}", fingerprint):
            raise QueryError(f"A checkpoint's fingerprint is 64 hex digits, got {fingerprint[:80]!r}.")
        return cls("vector", vector=tuple(given.astype(np.float32).tolist()), fingerprint=fingerprint)

    @classmethod
    def mix(cls, parts: Iterable[tuple[float, Query]]) -> Query:
        """Ask for what resembles all of these, each as much as it weighs; what weighs less than 0 is kept away from.

        A row's score is the weighted mean of its cosines, each in its ingredient's view: Σ w·cos / Σ |w|.

        Args:
            parts: weights, finite and not 0, with their ingredients: anything but ``any_of`` and ``examples``.

        Raises:
            QueryError: there is no ingredient, there are too many, or a weight or ingredient cannot be used.
        """
        return cls._combine("mix", [(_weight(weight), query) for weight, query in parts])

    @classmethod
    def any_of(cls, queries: Iterable[Query]) -> Query:
        """Ask for what resembles at least one of these: a row's score is its best.

        Raises:
            QueryError: there is none, there are too many, or one is ``examples``.
        """
        return cls._combine("any_of", [(1.0, query) for query in queries])

    @classmethod
    def examples(
        cls,
        positives: Iterable[Query],
        negatives: Iterable[Query] = (),
        *,
        background: int = DEFAULT_BACKGROUND,
        seed: int = 0,
    ) -> Query:
        """Ask for what is like the positives and unlike the negatives, as a classifier tells them apart.

        Args:
            positives: at least one place, image, row or vector.
            negatives: likewise, or none.
            background: how many stored cells, drawn at random, stand beside the negatives, 0…10,000.
            seed: of that draw.

        Raises:
            QueryError: there is no positive, or nothing to tell them apart from, or too many, or a number is out of
                range.
        """
        likes, unlikes = list(positives), list(negatives)
        if not likes:
            raise QueryError("Examples need at least one positive.")
        for name, value, most in (("background", background, MAX_BACKGROUND), ("seed", seed, MAX_SEED)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= value <= most:
                raise QueryError(f"{name} is {value!r}; give a whole number from 0 to {most:,}.")
        if not unlikes and not background:
            raise QueryError("Examples need something to be told apart from: give negatives, or a background.")
        parts = [(1.0, query) for query in likes] + [(-1.0, query) for query in unlikes]
        return cls._combine("examples", parts, background=int(background), seed=int(seed))

    @classmethod
    def _combine(cls, kind: Kind, parts: list[tuple[float, Query]], *, background: int = 0, seed: int = 0) -> Query:
        if not parts:
            raise QueryError(f"{kind} needs at least one ingredient.")
        allowed = PARTS_ALLOWED[kind]
        for _, query in parts:
            if not isinstance(query, Query):
                raise QueryError(f"An ingredient of {kind} must be a Query, got {type(query).__name__}.")
            if query.kind not in allowed:
                raise QueryError(f"{kind} cannot hold {query.kind}; its ingredients may be {', '.join(allowed)}.")
        made = cls(kind, parts=tuple(parts), background=background, seed=seed)
        count = sum(1 for _ in made.leaves())
        if count > MAX_INGREDIENTS:
            raise QueryError(f"The query has {count:,} ingredients; at most {MAX_INGREDIENTS} are allowed.")
        if made.depth > MAX_DEPTH:
            raise QueryError(f"The query is nested {made.depth} deep; at most {MAX_DEPTH} levels are allowed.")
        places = made.places
        only = places[0] if len(places) == 1 else None
        return replace(made, lonlat=only)

    def like(self, other: Query, *, weight: float = 1.0) -> Query:
        """This and also ``other``, as a mix."""
        mine = self.parts if self.kind == "mix" else ((1.0, self),)
        return Query.mix([*mine, (weight, other)])

    def unlike(self, other: Query, *, weight: float = 1.0) -> Query:
        """This but not ``other``, as a mix."""
        return self.like(other, weight=-_weight(weight))

    @property
    def places(self) -> tuple[LonLat, ...]:
        """Where it lies, as far as the query itself says: each place once, those of unlikes left out."""
        likes = (query for sign, query in self.leaves() if sign > 0)
        return tuple(dict.fromkeys(query.lonlat for query in likes if query.lonlat is not None))

    @property
    def depth(self) -> int:
        """Levels of queries within queries, this one counted."""
        return 1 + max((query.depth for _, query in self.parts), default=0)

    def leaves(self, sign: float = 1.0) -> Iterator[tuple[float, Query]]:
        """The ingredients that are no combinations, in order, with the sign (±1) that they come to."""
        if not self.parts:
            yield sign, self
        for weight, query in self.parts:
            yield from query.leaves(sign if weight > 0 else -sign)

    def to_json(self) -> dict[str, Any]:
        """The query as plain data that ``json.dumps`` takes; images go along whole."""
        from indexer.query_json import write_query

        return write_query(self)

    @classmethod
    def from_json(cls, given: Any) -> Query:
        """Read what :meth:`to_json` gave, as data or as text.

        Raises:
            QueryError: it is no query; the sentence says where.
        """
        from indexer.query_json import read_query

        return read_query(given)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Query) and (self is other or self.to_json() == other.to_json())

    def __hash__(self) -> int:
        return hash(json.dumps(self.to_json(), sort_keys=True))


def _weight(value: Any) -> float:
    real = isinstance(value, int | float | np.floating | np.integer) and not isinstance(value, bool)
    if not real or not 0 < abs(value) <= MAX_WEIGHT:
        raise QueryError(
            f"A weight is {value!r}; give a number that is not 0, of at most {MAX_WEIGHT:,.0f} either way."
        )
    return float(value)
