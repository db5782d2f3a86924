"""Heads: what turns the embedding of a place into a value or a class, and says how sure it is.

Owns :func:`fit_head` and :class:`Head`. Three kinds of head share the rest: ridge (``model.ridge``; for classes one
against the rest), k nearest neighbours (``model.knn``) and the network (``model.mlp_head``). Whatever the kind, a place
is *unfamiliar* when its nearest training place in the embedding is farther than 99 % of the training places are from
*their* nearest. Refuses targets that nothing can be learned from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data.errors import HeadError
from model.conformal import LEVEL, LOCAL, Intervals, Sets, upper_quantile
from model.knn import COUNTS, Knn, choose_knn
from model.mlp_head import Mlp, fit_mlp
from model.neighbours import Near, Neighbours
from model.ridge import Ridge, fit_ridge

Floats = NDArray[np.float64]
Method = Literal["ridge", "knn", "mlp"]
Kind = Literal["regression", "classification"]
FAMILIAR = 0.99
"""Share of the training places that count as familiar to the others."""
FEWEST = 20
"""Places without which no head is fitted."""
PIECE = 8192
"""Places predicted at once."""


@dataclass(frozen=True)
class Estimate:
    """What a head says of N places.

    Attributes:
        values: (N,) float64, in the target's unit; the number of the class for classes.
        low: (N,) lower end of the interval; NaN for classes.
        high: (N,) upper end.
        unfamiliar: (N,) whether the place is unlike all training places.
        scale: (N,) the mean error around, by which errors are divided before they are ranked; 1 for classes.
        probabilities: (N, C) for classes.
        sets: (N, C) which classes are in the set that holds the true one with the probability asked for.
    """

    values: Floats
    low: Floats
    high: Floats
    unfamiliar: NDArray[np.bool_]
    scale: Floats
    probabilities: Floats | None = None
    sets: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Head:
    """A fitted head.

    Attributes:
        method: ridge, knn or mlp.
        kind: regression or classification.
        classes: the classes' names, in the order of their numbers; empty for values.
        core: the fitted function.
        places: the training places.
        calibration: of its uncertainty.
        limit: distance in the embedding beyond which a place is unfamiliar.
        left_out: (n,) predictions of the training places when left out: values, or the classes' numbers.
        score: R² or accuracy of these.
        far: scores of unfamiliar places in held-out blocks, ascending, for their intervals; may be empty.
        facts: more about the fit, as the strength of a ridge.
    """

    method: Method
    kind: Kind
    classes: tuple[Any, ...]
    core: Ridge | Knn | Mlp
    places: Neighbours
    calibration: Intervals | Sets
    limit: float
    left_out: Floats
    score: float
    facts: dict[str, Any]
    far: Floats = field(default_factory=lambda: np.empty(0))

    def predict(self, features: ArrayLike) -> NDArray[Any]:
        """(N, D) embeddings to (N,) float64 values, or to classes as they were given."""
        outputs = self._outputs(np.asarray(features, dtype=np.float32))
        if self.kind == "regression":
            return np.asarray(outputs[:, 0])
        return np.asarray(np.asarray(self.classes)[outputs.argmax(axis=1)])

    def predict_proba(self, features: ArrayLike) -> Floats:
        """(N, D) embeddings to (N, C) calibrated probabilities, classes in the order of :attr:`classes`.

        Raises:
            HeadError: the head predicts values.
        """
        if not isinstance(self.calibration, Sets):
            raise HeadError("This head predicts a number, not a class, so it has no probabilities.")
        return self.calibration.probabilities(self._outputs(np.asarray(features, dtype=np.float32)))

    def estimate(self, features: ArrayLike, *, level: float = LEVEL) -> Estimate:
        """Predict with uncertainty.

        Args:
            features: (N, D) embeddings.
            level: probability with which the interval, or the set of classes, holds the truth; 0…1.
        """
        given = np.asarray(features, dtype=np.float32)
        pieces = [self._estimate(given[start : start + PIECE], level) for start in range(0, len(given), PIECE)]
        if not pieces:
            pieces = [self._estimate(given, level)]
        if len(pieces) == 1:
            return pieces[0]

        def together(name: str) -> Any:
            parts = [getattr(piece, name) for piece in pieces]
            return None if parts[0] is None else np.concatenate(parts)

        return Estimate(**{name: together(name) for name in Estimate.__dataclass_fields__})

    def _estimate(self, features: NDArray[np.float32], level: float) -> Estimate:
        near = self.places.query(features, max(LOCAL, self.core.k if isinstance(self.core, Knn) else 1))
        outputs = self._outputs(features, near)
        unfamiliar = near.distance[:, 0] > self.limit
        reach = self.reach(unfamiliar, level)
        nothing = np.full(len(features), np.nan)
        if isinstance(self.calibration, Intervals):
            scale, values = self.calibration.scale(near), outputs[:, 0]
            return Estimate(values, values - scale * reach, values + scale * reach, unfamiliar, scale)
        chances = self.calibration.probabilities(outputs)
        numbers = chances.argmax(axis=1)
        sets = 1 - chances <= reach[:, None]
        sets[np.arange(len(sets)), numbers] = True
        return Estimate(numbers.astype(np.float64), nothing, nothing, unfamiliar, np.ones(len(sets)), chances, sets)

    def reach(self, unfamiliar: NDArray[np.bool_], level: float = LEVEL) -> Floats:
        """(N,) the largest score that intervals and sets take in, at familiar and at unfamiliar places.

        Unfamiliar places have a quantile of their own, of unfamiliar places in held-out blocks.

        Source:
            Vovk, Gammerman & Shafer 2005, Algorithmic Learning in a Random World, section 4.5 (Mondrian conformal
            prediction: one quantile for each category).
        """
        near = upper_quantile(self.calibration.scores, level)
        return np.where(unfamiliar, far_reach(near, self.far, level), near)

    def scores(self, answer: Estimate, truth: NDArray[Any]) -> Floats:
        """(N,) how much each truth surprises: errors over their scale, or one minus the true class's probability."""
        if answer.probabilities is None:
            return np.asarray(np.abs(truth.astype(np.float64) - answer.values) / answer.scale, dtype=np.float64)
        number = {name: place for place, name in enumerate(self.classes)}
        places = np.array([number.get(name, -1) for name in truth.tolist()], dtype=np.int64)
        chance = answer.probabilities[np.arange(len(places)), places]
        return np.where(places < 0, np.inf, np.where(places == answer.values, 0.0, 1 - chance))

    def _outputs(self, features: NDArray[np.float32], near: Near | None = None) -> Floats:
        if features.ndim != 2 or features.shape[1] != self.places.points.shape[1]:
            raise ValueError(f"features must be (N, {self.places.points.shape[1]}), got {features.shape}")
        if isinstance(self.core, Knn):
            return self.core(near or self.places.query(features, self.core.k))
        return self.core(features)


def fit_head(
    features: ArrayLike,
    target: ArrayLike,
    *,
    head: Method | str = "ridge",
    kind: Kind | str = "regression",
    seed: int = 0,
    lonlat: ArrayLike | None = None,
    places: Neighbours | None = None,
) -> Head:
    """Fit a head on embeddings.

    Args:
        features: (n, D) embeddings of the training places.
        target: (n,) finite numbers, or classes (text or whole numbers).
        head: "ridge", "knn" or "mlp".
        kind: "regression" or "classification".
        seed: of the network's draws; the other two make none.
        lonlat: (n, 2) degrees; where given, places at one coordinate are kept in one fold of the network.
        places: the same features, where several heads are fitted on them: their neighbours are then found once.

    Raises:
        HeadError: too few places, one class only, a constant target, or a target that is no number.
    """
    if head not in get_args(Method):
        raise HeadError(f"There is no head {head!r}; choose one of {', '.join(get_args(Method))}.")
    if kind not in get_args(Kind):
        raise HeadError(f"A head is for regression or classification, not for {kind!r}.")
    x = np.ascontiguousarray(features, dtype=np.float32)
    given = np.asarray(target)
    if x.ndim != 2 or given.shape != (len(x),):
        raise ValueError(f"expected (n, D) features and (n,) targets, got {x.shape} and {given.shape}")
    classes, numbers = _numbers(given, kind)
    places = Neighbours(x) if places is None else places
    near = places.leave_one_out(max(LOCAL, *COUNTS))
    core: Ridge | Knn | Mlp
    facts: dict[str, Any]
    if head == "knn":
        core = choose_knn(numbers, len(classes), near)
        left_out = core(near)
        facts = {"k": core.k, "weights": "distance" if core.by_distance else "uniform"}
    elif head == "ridge":
        wanted = numbers[:, None]
        if classes:
            wanted = np.where(numbers[:, None] == np.arange(len(classes)), 1.0, -1.0)
        core, left_out = fit_ridge(x, wanted)
        facts = {"strength": core.strength}
    else:
        core, left_out, facts = fit_mlp(x, numbers, len(classes), seed=seed, lonlat=lonlat)
    calibration: Intervals | Sets
    if classes:
        truth = numbers.astype(np.int64)
        calibration = Sets.fit(truth, left_out)
        guessed = left_out.argmax(axis=1).astype(np.float64)
        score = float((guessed == numbers).mean())
    else:
        guessed = left_out[:, 0]
        calibration = Intervals.fit(numbers, guessed, near)
        score = r2(numbers, guessed)
    limit = float(np.quantile(near.distance[:, 0], FAMILIAR))
    return Head(
        method=head,  # type: ignore[arg-type]
        kind=kind,  # type: ignore[arg-type]
        classes=classes,
        core=core,
        places=places,
        calibration=calibration,
        limit=limit,
        left_out=guessed,
        score=score,
        facts=facts,
    )


def far_reach(near: float, far: Floats, level: float) -> float:
    """The quantile of unfamiliar places; that of the familiar ones, which stands in for too few."""
    return upper_quantile(far, level) if len(far) >= FEWEST else near


def r2(truth: Floats, predicted: Floats) -> float:
    """Share of the variance that is explained: 1 − Σ(y − ŷ)² / Σ(y − ȳ)²."""
    spread = float(((truth - truth.mean()) ** 2).sum())
    return 1 - float(((truth - predicted) ** 2).sum()) / spread if spread > 0 else float("nan")


def _numbers(target: NDArray[Any], kind: str) -> tuple[tuple[Any, ...], Floats]:
    """The classes and the targets as numbers."""
    if len(target) < FEWEST:
        raise HeadError(f"{len(target)} places are too few to fit a head on; give at least {FEWEST}.")
    if kind == "classification":
        found, numbers = np.unique(target, return_inverse=True)
        if len(found) < 2:
            raise HeadError(f"Every place has the class {found[0]}; there must be two classes or more.")
        return tuple(found.tolist()), numbers.astype(np.float64)
    try:
        values = target.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise HeadError("The target is not made of numbers. Fit it as classes instead.") from error
    if not np.isfinite(values).all():
        raise HeadError(f"The target of place {int(np.argmin(np.isfinite(values)))} is missing or not finite.")
    if np.ptp(values) == 0:
        raise HeadError(f"The target is {values[0]:g} everywhere; there is nothing to learn.")
    return (), values
