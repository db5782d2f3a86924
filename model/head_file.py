"""Heads on disk: ``NAME.safetensors`` and ``NAME.json`` in a folder of the checkpoint they belong to.

Owns the format. Heads lie under ``SAMEWHERE_HOME/heads/<first 16 digits of the checkpoint's fingerprint>``; the card
names the whole fingerprint and the SHA-256 of the tensors. Refuses another checkpoint's heads, damaged files, and cards
or tensors that do not fit together. Nothing in a file is ever run.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from data.errors import HeadError
from data.files import disk_errors, durable
from data.home import home
from model.conformal import Intervals, Sets
from model.heads import FEWEST, Head
from model.knn import Knn
from model.mlp_head import Mlp
from model.neighbours import Neighbours
from model.ridge import Ridge
from model.validate import Check

FORMAT = 1
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LARGEST_BYTES = 2 << 30
LARGEST_CARD_BYTES = 16 << 20
DIGITS = 16
"""Of the fingerprint, in a folder's name."""


@dataclass(frozen=True)
class Saved:
    """A head and what is known of it.

    Attributes:
        name: of the variable.
        title: for people.
        unit: of the values; empty for classes.
        head: the head.
        checks: how it did on held-out places.
        about: anything more that its maker noted, as the columns of a table.
    """

    name: str
    title: str
    unit: str
    head: Head
    checks: tuple[Check, ...]
    about: dict[str, Any]


def heads_path(fingerprint: str) -> Path:
    """Folder of a checkpoint's heads; it need not exist."""
    return home() / "heads" / fingerprint[:DIGITS]


def head_names(fingerprint: str) -> list[str]:
    """Names of the heads kept for a checkpoint, in alphabetical order."""
    found = (path.stem for path in heads_path(fingerprint).glob("*.safetensors"))
    return sorted(name for name in found if NAME.fullmatch(name))


def check_name(name: str) -> str:
    """A name that can be a file's.

    Raises:
        HeadError: it cannot.
    """
    if not NAME.fullmatch(name):
        raise HeadError(
            f"{name!r} cannot be a variable's name. Use letters, digits, '-', '_' and '.', as in soil-carbon."
        )
    return name


def save_head(saved: Saved, *, checkpoint: str, fingerprint: str) -> Path:
    """Write a head beside the others of its checkpoint; one of the same name is replaced.

    Args:
        saved: the head.
        checkpoint: name of the pair whose embeddings it reads.
        fingerprint: of that pair.

    Returns:
        The file of tensors; it appears last.

    Raises:
        HeadError: the name cannot be a file's, or the disk refuses.
    """
    folder = heads_path(fingerprint)
    path = folder / f"{check_name(saved.name)}.safetensors"
    content = save_tensors(_tensors(saved))
    head = saved.head
    card = {
        "format": FORMAT,
        "name": saved.name,
        "title": saved.title,
        "unit": saved.unit,
        "checkpoint": {"name": checkpoint, "fingerprint": fingerprint},
        "method": head.method,
        "kind": head.kind,
        "classes": list(head.classes),
        "limit": head.limit,
        "score": head.score,
        "facts": head.facts,
        "core": _core_settings(head),
        "temperature": head.calibration.temperature if isinstance(head.calibration, Sets) else None,
        "checks": [
            {key: value for key, value in asdict(check).items() if key not in ("truth", "predicted", "far")}
            for check in saved.checks
        ],
        "about": saved.about,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    advice = "Free some space and run it again."
    with disk_errors(path, "Writing", kind=HeadError, full=advice, denied="Choose another SAMEWHERE_HOME."):
        folder.mkdir(parents=True, exist_ok=True)
        with durable(path.with_suffix(".json")) as file:
            file.write((json.dumps(card, indent=2, ensure_ascii=False) + "\n").encode())
        with durable(path) as file:
            file.write(content)
    return path


def load_head(name: str, *, checkpoint: str, fingerprint: str) -> Saved:
    """Read a head of a checkpoint by its name, or from a file.

    Args:
        name: of the head, or the path of its ``.safetensors`` file.
        checkpoint: name of the pair whose embeddings it shall read.
        fingerprint: of that pair.

    Raises:
        HeadError: there is none, it belongs to another checkpoint, or it is damaged.
    """
    given = Path(name).expanduser()
    is_file = given.suffix == ".safetensors"
    path = given if is_file else heads_path(fingerprint) / f"{check_name(name)}.safetensors"
    if not path.is_file():
        elsewhere = sorted(home().glob(f"heads/*/{path.name}")) if path != given else []
        if not elsewhere:
            there = ", ".join(head_names(fingerprint)) or "none"
            raise HeadError(f"There is no fitted variable {name!r} for {checkpoint}; there is {there}.")
        path = elsewhere[0]
    card = _read_card(path)
    owner = card.get("checkpoint")
    if not isinstance(owner, dict) or owner.get("fingerprint") != fingerprint:
        made_with = owner.get("name") if isinstance(owner, dict) else "an unknown one"
        raise HeadError(
            f"{path}: fitted on the embedding of the checkpoint {made_with}, which is not the {checkpoint} in use "
            f"(fingerprint {fingerprint[:12]}…). Use that checkpoint, or fit it again."
        )
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise HeadError(f"{path}: {path.stat().st_size:,} bytes are no head.")
        content = path.read_bytes()
    except OSError as error:
        raise HeadError(f"{path}: cannot be read ({error.strerror}). Fit it again.") from error
    if hashlib.sha256(content).hexdigest() != card.get("sha256"):
        raise HeadError(f"{path}: the tensors are not those that the card beside them describes. Fit it again.")
    try:
        return _assemble(card, load_tensors(content))
    except (SafetensorError, LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"[:300]
        raise HeadError(f"{path}: damaged head ({reason}). Fit it again.") from error


def _read_card(path: Path) -> dict[str, Any]:
    beside = path.with_suffix(".json")
    try:
        if beside.stat().st_size > LARGEST_CARD_BYTES:
            raise HeadError(f"{beside}: {beside.stat().st_size:,} bytes are no card.")
        card = json.loads(beside.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise HeadError(f"{beside}: the card beside the head cannot be read ({error}). Fit it again.") from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise HeadError(f"{beside}: not a head's card of format {FORMAT}. Fit it again.")
    return card


def _core_settings(head: Head) -> dict[str, Any]:
    core = head.core
    if isinstance(core, Knn):
        return {"k": core.k, "by_distance": core.by_distance}
    if isinstance(core, Mlp):
        return {"mean": core.mean, "scale": core.scale, "layers": len(core.layers)}
    return {"strength": core.strength}


def _tensors(saved: Saved) -> dict[str, NDArray[Any]]:
    head, core = saved.head, saved.head.core
    tensors: dict[str, NDArray[Any]] = {"places": head.places.points, "left_out": head.left_out, "far": head.far}
    if isinstance(core, Knn):
        tensors |= {"core.targets": core.targets, "core.shares": core.shares}
    elif isinstance(core, Mlp):
        tensors |= {"core.centre": core.centre, "core.spread": core.spread}
        tensors |= {f"core.layer{number}": layer for number, layer in enumerate(core.layers)}
    else:
        tensors |= {"core.weights": core.weights, "core.offset": core.offset}
    tensors["calibration.scores"] = head.calibration.scores
    if isinstance(head.calibration, Intervals):
        tensors["calibration.errors"] = head.calibration.errors
        tensors["calibration.spacing"] = head.calibration.spacing
    for check in saved.checks:
        tensors |= {f"{check.split}.truth": check.truth, f"{check.split}.predicted": check.predicted}
    return {name: np.ascontiguousarray(value) for name, value in tensors.items()}


def _assemble(card: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> Saved:
    """A head from its parts; every shape is checked against the others."""
    places = _checked(tensors, "places", np.float32, (None, None))
    count, dim = places.shape
    if count < FEWEST or not dim:
        raise ValueError(f"{count} places with {dim} dimensions")
    classes = tuple(card["classes"])
    method, kind = str(card["method"]), str(card["kind"])
    if (kind == "classification") != bool(classes) or kind not in ("regression", "classification"):
        raise ValueError(f"kind {kind!r} with {len(classes)} classes")
    if not all(isinstance(name, (str, int, float, bool)) for name in classes):
        raise TypeError("a class is neither text nor a number")
    settings, width = card["core"], len(classes) or 1
    core: Ridge | Knn | Mlp
    if method == "knn":
        targets = _checked(tensors, "core.targets", np.float64, (count,))
        if classes and not ((targets >= 0) & (targets < width) & (targets == np.floor(targets))).all():
            raise ValueError("a place's class is none of the classes")
        k = int(settings["k"])
        if not 1 <= k <= count:
            raise ValueError(f"k is {k}")
        core = Knn(
            targets, _checked(tensors, "core.shares", np.float64, (len(classes),)), k, bool(settings["by_distance"])
        )
    elif method == "ridge":
        core = Ridge(
            _checked(tensors, "core.weights", np.float64, (dim, width)),
            _checked(tensors, "core.offset", np.float64, (width,)),
            float(settings["strength"]),
        )
    elif method == "mlp":
        core = _mlp(tensors, settings, dim, width)
    else:
        raise ValueError(f"method {method!r}")
    scores = _checked(tensors, "calibration.scores", np.float64, (count,))
    calibration: Intervals | Sets
    if classes:
        calibration = Sets(_positive(card["temperature"]), scores)
    else:
        errors, spacing = (_checked(tensors, f"calibration.{n}", np.float64, (count,)) for n in ("errors", "spacing"))
        calibration = Intervals(errors, spacing, scores)
    checks = []
    for entry in card["checks"]:
        split = str(entry["split"])
        truth = _checked(tensors, f"{split}.truth", np.float64, (None,))
        predicted = _checked(tensors, f"{split}.predicted", np.float64, truth.shape)
        figures = {key: float(entry[key]) for key in ("score", "error", "coverage", "unfamiliar")}
        checks.append(Check(split, **figures, truth=truth, predicted=predicted, far=np.empty(0)))  # type: ignore[arg-type]
    head = Head(
        method=method,  # type: ignore[arg-type]
        kind=kind,  # type: ignore[arg-type]
        classes=classes,
        core=core,
        places=Neighbours(places),
        calibration=calibration,
        limit=_finite(card["limit"]),
        left_out=_checked(tensors, "left_out", np.float64, (count,)),
        score=_finite(card["score"]),
        facts=dict(card["facts"]),
        far=_checked(tensors, "far", np.float64, (None,)),
    )
    about = dict(card["about"])
    features = about.get("features", [])
    if features:
        mean, spread = ([_finite(value) for value in about[key]] for key in ("feature_mean", "feature_spread"))
        if not (len(features) == len(mean) == len(spread) < dim) or 0 in spread:
            raise ValueError(f"{len(features)} feature columns")
    if not all(isinstance(name, str) for name in features):
        raise TypeError("a feature column's name is no text")
    return Saved(check_name(card["name"]), str(card["title"]), str(card["unit"]), head, tuple(checks), about)


def _finite(value: Any) -> float:
    number = float(value)
    if not np.isfinite(number):
        raise ValueError(f"{number} among the figures")
    return number


def _positive(value: Any) -> float:
    number = _finite(value)
    if number <= 0:
        raise ValueError(f"temperature {number}")
    return number


def _mlp(tensors: Mapping[str, NDArray[Any]], settings: Mapping[str, Any], dim: int, width: int) -> Mlp:
    first = _checked(tensors, "core.layer0", np.float32, (None, dim, None))
    members, before = first.shape[0], dim
    count = int(settings["layers"])
    if count < 2 or count % 2 or count > 32:
        raise ValueError(f"{count} layers")
    layers = []
    for number in range(0, count, 2):
        weights = _checked(tensors, f"core.layer{number}", np.float32, (members, before, None))
        before = weights.shape[2]
        layers += [weights, _checked(tensors, f"core.layer{number + 1}", np.float32, (members, 1, before))]
    if before != width:
        raise ValueError(f"{before} outputs, {width} are wanted")
    return Mlp(
        tuple(layers),
        _checked(tensors, "core.centre", np.float32, (dim,)),
        _checked(tensors, "core.spread", np.float32, (dim,)),
        float(settings["mean"]),
        float(settings["scale"]),
        width > 1,
    )


def _checked(
    tensors: Mapping[str, NDArray[Any]], name: str, dtype: type[np.generic], shape: tuple[int | None, ...]
) -> NDArray[Any]:
    """A tensor of the file, if it is what it should be; None in the shape is any length."""
    value = tensors[name]
    fits = value.ndim == len(shape) and all(want in (None, have) for want, have in zip(shape, value.shape, strict=True))
    if value.dtype != dtype or not fits:
        raise ValueError(f"{name} is {value.dtype} of shape {value.shape}, not {np.dtype(dtype)} of {shape}")
    if not np.isfinite(value).all():
        raise ValueError(f"{name} holds values that are not finite")
    return value
