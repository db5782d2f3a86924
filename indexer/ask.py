"""A query as vectors: what a store is searched with, and what its products then mean.

Owns the meaning of the algebra. Vectors q come out weighted by a view, so that their inner product with a stored row x
is a score:

* a single ingredient: q = reweight(v), the cosine in the view;
* ``mix``: q = sum of w·q_i over the sum of |w|. Products are linear in q, so one search gives the weighted mean of the
  cosines; its ingredients may be of several views;
* ``any_of``: one q each, of which a row's best counts;
* ``examples``: q and a bias of a logistic regression, its score the probability.

Refuses to guess: ingredients that cancel out, and vectors of another checkpoint. Loads and reads nothing itself: all it
needs is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from data.errors import QueryError
from data.geo import Floats
from data.patch import Patch
from indexer.encoder import Vectors
from indexer.hits import Target
from indexer.query import LonLat, Query

L2 = 0.01
"""Weight of the squared length against the mean loss: with unit vectors, lets a cosine gap of .5 decide clearly."""
MIN_LENGTH = 1e-4
"""A mix shorter than this, of ingredients of about unit length, is rounding and no direction."""


@dataclass(frozen=True)
class Asked:
    """What a query comes to.

    Attributes:
        vectors: (Q, D) float32, weighted by view; Q is 1 but for ``any_of``.
        view: in which it is compared, or '' where its ingredients take several: then no calibration of an approximate
            index fits, and the answer should be exact.
        score: turns products (…,) into scores (…,) float32, keeping their order.
        places: where the query lies, (lon, lat) each; empty where that is unknown.
        own: kind and id of the stored rows that the query names, which do not answer it.
    """

    vectors: Vectors
    view: str
    score: Callable[[Vectors], Vectors]
    places: tuple[LonLat, ...] = ()
    own: tuple[tuple[Target, str], ...] = ()

    def own_ids(self, target: Target) -> tuple[str, ...]:
        """The ids of :attr:`own` among ``cells`` or ``tiles``; the same text may name a row of each."""
        return tuple(name for kind, name in self.own if kind == target)


def resolve(
    query: Query,
    *,
    encode_place: Callable[[Floats], Vectors],
    encode_image: Callable[[list[Patch]], Vectors],
    stored: Callable[[Target, str], Vectors],
    background: Callable[[int, int], Vectors],
    reweight: Callable[[Vectors, str], Vectors],
    default_view: Callable[[str], str],
    view: str | None = None,
    tile_place: Callable[[str], LonLat | None] | None = None,
    fingerprint: str | None = None,
) -> Asked:
    """Turn a query into vectors. Encoders run once each, and only where the query has something for them.

    Args:
        query: what is asked.
        encode_place: (n, 2) degrees to (n, D) unit rows.
        encode_image: patches to (n, D) unit rows.
        stored: kind and id to that row's (D,) vector.
        background: count and seed to (n, D) stored cells, the same ones each time.
        reweight: (n, D) vectors and a view to (n, D) queries whose product with a row is the cosine in that view.
        default_view: kind of a query to the view it takes where none is named.
        view: in which to compare everything; by default each ingredient's own.
        tile_place: where a stored tile lies; without it the places of tiles are left out.
        fingerprint: of the index's checkpoint, for vectors that tell theirs.

    Raises:
        QueryError: ingredients cancel out, or a vector is of another checkpoint or length.
    """
    leaves = list(query.leaves())
    rows = _vectors([leaf for _, leaf in leaves], encode_place, encode_image, stored, fingerprint)
    own = dict.fromkeys((cast(Target, f"{leaf.kind}s"), leaf.id or "") for _, leaf in leaves if leaf.id is not None)
    spots = (
        tile_place(leaf.id or "") if leaf.kind == "tile" and tile_place else leaf.lonlat
        for sign, leaf in leaves
        if sign > 0
    )
    places = tuple(dict.fromkeys(spot for spot in spots if spot is not None))
    if query.kind == "examples":
        chosen = view or default_view("examples")
        signs = np.array([sign for sign, _ in leaves])
        drawn = background(query.background, query.seed) if query.background else rows[:0]
        vector, bias = learn(rows[signs > 0], rows[signs < 0], drawn, lambda vectors: reweight(vectors, chosen))
        return Asked(vector[None], chosen, lambda products: _probability(products, bias), places, tuple(own))
    views = [view or default_view(leaf.kind) for _, leaf in leaves]
    weighted = np.empty(rows.shape, dtype=np.float64)
    for each in set(views):
        among = np.array([name == each for name in views])
        weighted[among] = reweight(rows[among], each)
    stacked = np.concatenate(list(_stack(query, iter(weighted))))
    asked_view = views[0] if len(set(views)) == 1 else ""
    return Asked(stacked.astype(np.float32), asked_view, _cosine, places, tuple(own))


def _vectors(
    leaves: list[Query],
    encode_place: Callable[[Floats], Vectors],
    encode_image: Callable[[list[Patch]], Vectors],
    stored: Callable[[Target, str], Vectors],
    fingerprint: str | None,
) -> Vectors:
    """(n, D) float32, the unweighted vector of every ingredient."""
    found: dict[int, Vectors] = {}
    at_places = [number for number, leaf in enumerate(leaves) if leaf.kind == "place"]
    if at_places:
        lonlat = np.array([leaves[number].lonlat for number in at_places], dtype=np.float64)
        found |= zip(at_places, encode_place(lonlat), strict=True)
    of_images = [number for number, leaf in enumerate(leaves) if leaf.kind == "image"]
    if of_images:
        patches = [patch for number in of_images if (patch := leaves[number].patch) is not None]
        found |= zip(of_images, encode_image(patches), strict=True)
    for number, leaf in enumerate(leaves):
        if leaf.kind == "vector":
            if None not in (leaf.fingerprint, fingerprint) and leaf.fingerprint != fingerprint:
                raise QueryError(
                    f"The query's vector was made by checkpoint {leaf.fingerprint}, the index by {fingerprint}. "
                    "Vectors of two checkpoints cannot be compared: embed the query again."
                )
            found[number] = np.array(leaf.vector, dtype=np.float32)
        elif leaf.kind in ("cell", "tile"):
            found[number] = np.asarray(stored("cells" if leaf.kind == "cell" else "tiles", leaf.id or ""))
    lengths = {len(vector) for vector in found.values()}
    if len(lengths) > 1:
        raise QueryError(
            f"The query's ingredients have vectors of lengths {', '.join(map(str, sorted(lengths)))}, so that they "
            "cannot come from one checkpoint. Embed them with the index's own."
        )
    return np.stack([found[number] for number in range(len(leaves))]).astype(np.float32, copy=False)


def _stack(query: Query, weighted: Iterator[Floats]) -> Iterator[Floats]:
    """(q, D) pieces of the query's vectors, ``weighted`` being those of its leaves in order."""
    if query.kind == "any_of":
        for _, part in query.parts:
            yield from _stack(part, weighted)
    elif query.kind == "mix":
        total = sum(abs(weight) for weight, _ in query.parts)
        summed = np.add.reduce([weight / total * next(_stack(part, weighted)) for weight, part in query.parts])
        if np.linalg.norm(summed) < MIN_LENGTH:
            raise QueryError("The ingredients of the mix cancel each other out. Change a weight, or leave one out.")
        yield summed
    else:
        yield next(weighted)[None]


def learn(
    positives: Vectors, negatives: Vectors, background: Vectors, reweight: Callable[[Vectors], Vectors]
) -> tuple[Vectors, float]:
    """Logistic regression with an L2 penalty, in one view.

    Positives weigh as much as all others together; negatives as much as the background, where there are both. Convex,
    so there is one answer, whatever the order of the examples.

    Args:
        positives: (n, D) unit rows.
        negatives: (n, D) unit rows, perhaps none.
        background: (n, D) unit rows, perhaps none.
        reweight: the view: its queries' product with a row is the cosine of the two.

    Returns:
        (D,) float32 and a bias: the product with a stored row, plus the bias, is the log odds.

    Source:
        Schölkopf, Herbrich & Smola 2001, A Generalized Representer Theorem: the minimum is a sum of the examples, each
        weighing its residual over the penalty. So it can be said in queries, which carry the view.
    """
    groups = [group for group in (negatives, background) if len(group)]
    everyone = np.concatenate([positives, *groups])
    queries = np.asarray(reweight(everyone), dtype=np.float64)
    x = queries / np.maximum(np.linalg.norm(queries, axis=1, keepdims=True), 1e-12)  # what the view sees, unit length
    signs = np.repeat([1.0, -1.0], [len(positives), len(everyone) - len(positives)])
    shares = [np.full(len(positives), 0.5 / len(positives))]
    shares += [np.full(len(group), 0.5 / len(groups) / len(group)) for group in groups]
    share = np.concatenate(shares)

    def loss(parameters: Floats) -> tuple[float, Floats]:
        direction, bias = parameters[:-1], parameters[-1]
        margin = signs * (x @ direction + bias)
        residual = -share * signs * expit(-margin)
        value = float(-share @ log_expit(margin) + L2 / 2 * direction @ direction)
        return value, np.r_[x.T @ residual + L2 * direction, residual.sum()]

    start = np.zeros(x.shape[1] + 1)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 2000, "ftol": 1e-15, "gtol": 1e-9})
    margin = signs * (x @ found.x[:-1] + found.x[-1])
    weights = share * signs * expit(-margin) / L2
    return (weights @ queries).astype(np.float32), float(found.x[-1])


def _probability(products: Vectors, bias: float) -> Vectors:
    log_odds: NDArray[np.float64] = np.asarray(products, dtype=np.float64) + bias
    return np.asarray(expit(log_odds), dtype=np.float32)


def _cosine(products: Vectors) -> Vectors:
    return np.asarray(products, dtype=np.float32)
