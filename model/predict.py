"""Predictions at places: the built-in variables, and those that users fitted.

Owns :func:`load_predictor` and the built-in heads. A built-in head is fitted when it is first asked for, in some
seconds, on 10,000 land places of the atlas, and kept beside its checkpoint's other heads. Which kind of head it is, is
decided by the mean of its scores on held-out places and in held-out 10° blocks. Refuses unknown variables.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data.errors import HeadError
from data.geo import Floats, validate_lonlat
from data.land import sample_land
from data.tasks import EXTRA, TASKS, Task, identity, known, targets
from model.conformal import LEVEL
from model.head_file import Saved, head_names, load_head, save_head
from model.heads import fit_head
from model.neighbours import Neighbours
from model.validate import Check, block_folds, check_head, cross_validate

if TYPE_CHECKING:
    from model.encoder import EncoderPair

Progress = Callable[[float, str], None]
"""Told how much is done, 0…1, and what is being done."""
PLACES, HELD_OUT = 10_000, 2_500
SEED = 2027
METHODS = ("knn", "ridge")
PIECE = 65_536
"""Places embedded at once: 64 MB."""
RECIPE = 2
"""Counts up when built-in heads are to be fitted anew."""


@dataclass(frozen=True)
class Variable:
    """What can be predicted.

    Attributes:
        name: as ``samewhere predict --variable`` takes it.
        title: for people.
        unit: of the values; empty for classes.
        kind: "regression" or "classification".
        classes: names of the classes, in the order of their numbers; empty for regression, and before a head is fitted.
        builtin: whether it comes with Samewhere.
    """

    name: str
    title: str
    unit: str
    kind: str
    classes: tuple[str, ...] = ()
    builtin: bool = True


VARIABLES: tuple[Variable, ...] = tuple(Variable(task.name, task.title, task.unit, task.kind) for task in TASKS + EXTRA)


@dataclass(frozen=True)
class Prediction:
    """What is said of N places.

    Attributes:
        values: (N,) float64 in the variable's unit; the number of the most probable class.
        low: (N,) lower end of the interval that holds the truth with probability ``level``; NaN for classes.
        high: (N,) upper end.
        unfamiliar: (N,) bool, whether the place is unlike every training place: take the value with salt.
        probabilities: (N, C) of the classes, None for values.
        labels: (N,) text, the most probable class, None for values.
        sets: (N, C) bool, the classes that together hold the true one with probability ``level``, None for values.
        level: probability that intervals and sets hold the truth, on average over places like the training places.
    """

    values: Floats
    low: Floats
    high: Floats
    unfamiliar: NDArray[np.bool_]
    probabilities: Floats | None
    labels: NDArray[np.str_] | None
    sets: NDArray[np.bool_] | None
    level: float


class Predictor:
    """A variable, ready to be predicted anywhere.

    Attributes:
        variable: what is predicted.
        method: which kind of head does it: knn, ridge or mlp.
        checks: how it did on held-out places: on random ones, then in held-out blocks.
        saved: the head and all that is known of it.
        checkpoint: name of the pair it belongs to.
        fingerprint: of that pair.
    """

    def __init__(self, saved: Saved, pair: EncoderPair) -> None:
        """Take a head and the pair it belongs to; :func:`load_predictor` is the usual way here.

        Raises:
            HeadError: the pair's embeddings have another length.
        """
        width, dim = saved.head.places.points.shape[1], pair.dim + len(saved.about.get("features", ()))
        if width != dim:
            raise HeadError(f"The head of {saved.name} takes {width} numbers, {pair.name} gives {dim}. Fit it again.")
        self.saved, self._pair = saved, pair
        self.method = saved.head.method
        self.checks = saved.checks
        self.checkpoint, self.fingerprint = pair.name, pair.fingerprint
        task = _task(saved.name) if saved.about.get("builtin") else None
        self._inverse = task.inverse if task else identity
        self.variable = Variable(
            saved.name,
            saved.title,
            saved.unit,
            saved.head.kind,
            tuple(str(name) for name in saved.head.classes),
            builtin=task is not None,
        )

    @property
    def random(self) -> Check:
        """How the head did on held-out random places; values on the scale of the fit."""
        return self.checks[0]

    @property
    def blocks(self) -> Check:
        """How the head did in held-out blocks."""
        return self.checks[1]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, beside the place, that the head needs; none for built-in variables."""
        return tuple(self.saved.about.get("features", ()))

    def in_unit(self, values: ArrayLike) -> Floats:
        """Values on the scale of the fit, such as those of :attr:`checks`, in the variable's unit."""
        scaled = np.asarray(values, dtype=np.float64)
        if self._inverse is not identity:  # logarithms of one more than amounts, of which none is negative
            scaled = np.maximum(scaled, 0.0)
        return np.asarray(self._inverse(scaled), dtype=np.float64)

    def predict(self, lonlat: ArrayLike, *, level: float = LEVEL, features: ArrayLike | None = None) -> Prediction:
        """Predict.

        Args:
            lonlat: (N, 2) degrees.
            level: probability with which intervals and sets shall hold the truth.
            features: (N, F) values of :attr:`columns`, where the head needs them.

        Raises:
            CoordinateError: a coordinate off the globe.
            HeadError: columns are missing, or a level that is none.
        """
        points = validate_lonlat(lonlat) if np.size(lonlat) else np.empty((0, 2))
        extra = None if features is None else np.asarray(features, dtype=np.float64)
        parts = []
        for start in range(0, max(1, len(points)), PIECE):
            rows = slice(start, start + PIECE)
            vectors = self.embed(points[rows])
            parts.append(self.predict_vectors(vectors, level=level, features=None if extra is None else extra[rows]))
        return parts[0] if len(parts) == 1 else _together(parts)

    def embed(self, lonlat: ArrayLike) -> NDArray[np.float32]:
        """(N, D) embeddings of (N, 2) degrees, for :meth:`predict_vectors` of this and all others of the encoder."""
        return np.asarray(self._pair.encode_location(lonlat), dtype=np.float32)

    def predict_vectors(
        self, embeddings: ArrayLike, *, level: float = LEVEL, features: ArrayLike | None = None
    ) -> Prediction:
        """Predict from (N, D) embeddings that are already there, such as those of an index's cells."""
        if not 0 < level < 1:
            raise HeadError(f"level is {level:g}; it is a probability, between 0 and 1, as 0.9.")
        inputs = join_features(np.asarray(embeddings, dtype=np.float32), features, self.saved.about)
        found = self.saved.head.estimate(inputs, level=level)
        classes = np.array(self.variable.classes, dtype=np.str_)
        return Prediction(
            values=self.in_unit(found.values),
            low=self.in_unit(found.low),
            high=self.in_unit(found.high),
            unfamiliar=found.unfamiliar,
            probabilities=found.probabilities,
            labels=classes[found.values.astype(np.int64)] if len(classes) else None,
            sets=found.sets,
            level=level,
        )


def _together(parts: list[Prediction]) -> Prediction:
    """Predictions of one variable, one after the other."""

    def join(name: str) -> Any:
        columns = [getattr(part, name) for part in parts]
        return None if columns[0] is None else np.concatenate(columns)

    names = [name for name in Prediction.__dataclass_fields__ if name != "level"]
    return Prediction(**{name: join(name) for name in names}, level=parts[0].level)


FEATURE_WEIGHT = 0.25
"""Length of one standard deviation of a feature column beside the embedding's length of 1."""


def join_features(
    embeddings: NDArray[np.float32], features: ArrayLike | None, about: dict[str, Any]
) -> NDArray[np.float32]:
    """Embeddings with a head's feature columns, standardised, behind them.

    Raises:
        HeadError: columns are missing.
    """
    names = about.get("features", ())
    if not names:
        return embeddings
    if features is None:
        raise HeadError(
            f"This variable was fitted with the column(s) {', '.join(names)} beside the place, so it can only be "
            "predicted for a table that has them."
        )
    mean, spread = np.asarray(about["feature_mean"]), np.asarray(about["feature_spread"])
    scaled = (np.asarray(features, dtype=np.float64) - mean) / spread * FEATURE_WEIGHT
    return np.asarray(np.concatenate([embeddings, scaled], axis=1), dtype=np.float32)


def variables(pair: EncoderPair | None = None, *, damaged: list[str] | None = None) -> list[Variable]:
    """Every variable that can be predicted: the built-in ones, then those fitted for the pair.

    Args:
        pair: whose fitted variables are listed; none are without it.
        damaged: gets a sentence for each fitted one that cannot be read; it is left out.
    """
    found = list(VARIABLES)
    if pair is not None:
        builtin = {variable.name for variable in VARIABLES}
        for name in head_names(pair.fingerprint):
            if name not in builtin:
                try:
                    saved = load_head(name, checkpoint=pair.name, fingerprint=pair.fingerprint)
                except HeadError as error:
                    if damaged is not None:
                        damaged.append(str(error))
                    continue
                classes = tuple(str(entry) for entry in saved.head.classes)
                found.append(Variable(name, saved.title, saved.unit, saved.head.kind, classes, builtin=False))
    return found


def load_predictor(
    name: str, pair: EncoderPair | None = None, *, progress: Progress | None = None, refit: bool = False
) -> Predictor:
    """A predictor by the variable's name.

    Args:
        name: of a built-in variable, of one that was fitted for this pair, or the path of a head's file.
        pair: whose embeddings it reads; the embedded one by default.
        progress: told of the fitting, where a built-in variable is asked for the first time.
        refit: fit a built-in variable again.

    Raises:
        HeadError: there is no such variable, or its head cannot be used with this pair.
    """
    if pair is None:
        from model.checkpoint import load

        pair = load(part="location")
    task = _task(name)
    if task is None:
        if not name.endswith(".safetensors") and name not in head_names(pair.fingerprint):
            there = ", ".join([v.name for v in VARIABLES] + head_names(pair.fingerprint))
            try:
                load_head(name, checkpoint=pair.name, fingerprint=pair.fingerprint)
            except HeadError as error:
                if "There is no fitted variable" not in str(error):
                    raise
            raise HeadError(
                f"There is no variable {name!r} for {pair.name}; there is {there}. "
                "`samewhere fit` makes one of a table."
            )
        return Predictor(load_head(name, checkpoint=pair.name, fingerprint=pair.fingerprint), pair)
    if not refit and name in head_names(pair.fingerprint):
        try:
            saved = load_head(name, checkpoint=pair.name, fingerprint=pair.fingerprint)
        except HeadError:  # damaged: it can be made again
            saved = None
        if saved is not None and saved.about.get("recipe") == RECIPE:
            return Predictor(saved, pair)
    saved = fit_builtin(task, pair, progress=progress)
    save_head(saved, checkpoint=pair.name, fingerprint=pair.fingerprint)
    return Predictor(saved, pair)


def fit_builtin(task: Task, pair: EncoderPair, *, progress: Progress | None = None) -> Saved:
    """Fit the head of a built-in variable and check it on 2,500 held-out places and in held-out 10° blocks."""
    tell = progress or (lambda share, what: None)
    tell(0.0, f"{task.title}: embedding {PLACES + HELD_OUT:,} places")
    lonlat, vectors = _training_places(pair)
    target = targets(task, lonlat)
    usable = known(target)
    lonlat, vectors, target = lonlat[usable], vectors[usable], target[usable]
    train = np.arange(len(target)) < PLACES * usable.mean()
    fold = block_folds(lonlat[train], seed=SEED)
    done, steps = 0, int(fold.max()) + 2

    def step() -> None:
        nonlocal done
        done += 1
        tell(done / steps, f"{task.title}: fitting and checking on held-out places")

    far = cross_validate(
        vectors[train], target[train], lonlat[train], fold, heads=METHODS, kind=task.kind, split="blocks", progress=step
    )
    about = {"builtin": True, "recipe": RECIPE, "places": int(train.sum()), "scale": task.scale}
    places, found = Neighbours(vectors[train]), list[Saved]()
    for method in METHODS:
        head = fit_head(
            vectors[train], target[train], head=method, kind=task.kind, seed=SEED, lonlat=lonlat[train], places=places
        )
        head = replace(head, far=far[method].far)
        near = check_head(head, vectors[~train], target[~train])
        found.append(Saved(task.name, task.title, task.unit, head, (near, far[method]), about))
    step()
    return max(found, key=lambda saved: sum(check.score for check in saved.checks))


@cache
def _places() -> Floats:
    """The places of all built-in heads, (PLACES + HELD_OUT, 2) degrees, the held-out ones last."""
    return sample_land(PLACES + HELD_OUT, rng=np.random.default_rng(SEED))


_encoded: dict[str, NDArray[np.float32]] = {}


def _training_places(pair: EncoderPair) -> tuple[Floats, NDArray[np.float32]]:
    """The places and their embeddings; those of the last pair are kept."""
    if pair.fingerprint not in _encoded:
        _encoded.clear()
        _encoded[pair.fingerprint] = np.asarray(pair.encode_location(_places()), dtype=np.float32)
    return _places(), _encoded[pair.fingerprint]


def _task(name: str) -> Task | None:
    return next((task for task in TASKS + EXTRA if task.name == name), None)
