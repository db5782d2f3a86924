"""Which baselines there are, and :func:`load_baseline`, the one way in which one is had.

Owns names and where weights are looked for: none are needed, or a file of the baseline's authors is given, or one that
was trained here lies in ``SAMEWHERE_HOME/baselines``. Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.errors import CheckpointError
from model.baselines.base import Baseline
from model.baselines.csp import load_csp
from model.baselines.csp_train import RECIPES as CSP_RECIPES
from model.baselines.csp_train import train_csp
from model.baselines.encodings import ENCODINGS, EncodingBaseline
from model.baselines.geoclip import load_geoclip
from model.baselines.gps2vec import load_gps2vec
from model.baselines.gps2vec_train import RECIPES as GPS2VEC_RECIPES
from model.baselines.gps2vec_train import train_gps2vec
from model.baselines.mosaiks import make_mosaiks
from model.baselines.mosaiks_table import load_table
from model.baselines.store import baselines_path, save_baseline

TRAINABLE: tuple[str, ...] = (*CSP_RECIPES, *GPS2VEC_RECIPES)
"""Those that need training, and that :func:`train_baseline` trains."""

BASELINES: tuple[str, ...] = (*ENCODINGS, "mosaiks", "geoclip", *TRAINABLE)
"""Every baseline's name."""

_LOADERS: Mapping[str, Callable[[str, Path], Baseline]] = {
    **dict.fromkeys(CSP_RECIPES, load_csp),
    **dict.fromkeys(GPS2VEC_RECIPES, load_gps2vec),
}


def load_baseline(name: str, *, weights: Path | str | None = None) -> Baseline:
    """Load a baseline.

    Args:
        name: one of :data:`BASELINES`, in any case; or ``NAME=PATH``, which is ``weights`` for a command line.
        weights: a file or folder of its authors, or the ``.safetensors`` of a training; see docs/baselines.md. By
            default what was trained here, for "geoclip" the installed package, and for "mosaiks" the Blue Marble.

    Raises:
        CheckpointError: no such baseline; or its weights are not there, damaged, or of another baseline.
        MissingDependencyError: the package that holds or reads the weights is not installed.
    """
    name, _, after = name.partition("=")
    name = resolve_name(name)
    given = Path(weights or after).expanduser() if weights or after else None
    if name in ENCODINGS:
        if given is not None:
            raise CheckpointError(f"The baseline {name} has no weights, so {given} cannot be its; leave it out.")
        return EncodingBaseline(name)
    if name == "geoclip":
        return load_geoclip(given)
    if name == "mosaiks":
        return make_mosaiks() if given is None else load_table(given)
    path = given or trained_path(name)
    if given is None and not path.is_file():
        raise CheckpointError(
            f"{name} has not been trained here ({path} is not there). Run: samewhere train --baseline {name} (it takes "
            "minutes), or give its authors' weights."
        )
    return _LOADERS[name](name, path)


def train_baseline(
    name: str,
    path: Path | None = None,
    *,
    places: int | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    report: Callable[[str], None] | None = None,
) -> Path:
    """Train a baseline by its authors' recipe on the Blue Marble, in minutes on one core.

    Args:
        name: one of :data:`TRAINABLE`.
        path: where, ending in ``.safetensors``; by default where :func:`load_baseline` looks.
        places: training places, instead of the recipe's.
        epochs: passes over them, instead of the recipe's.
        seed: of every draw, instead of the recipe's.
        report: is told how far it is.

    Returns:
        Path of the weights.

    Raises:
        CheckpointError: it is no trainable baseline, or it cannot be written.
    """
    name = resolve_name(name)
    if name not in TRAINABLE:
        raise CheckpointError(f"The baseline {name} is not trained; those that are: {', '.join(TRAINABLE)}.")
    path = trained_path(name) if path is None else path
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path}: name a file that ends in .safetensors.")
    given = {"places": places, "epochs": epochs, "seed": seed}
    changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if name in CSP_RECIPES:
        tensors, card = train_csp(replace(CSP_RECIPES[name], **changes), report=report)
    else:
        tensors, card = train_gps2vec(replace(GPS2VEC_RECIPES[name], **changes), report=report)
    save_baseline(path, tensors, card={"name": name, **card})
    return path


def trained_path(name: str) -> Path:
    """Where the weights of a trained baseline lie."""
    return baselines_path() / f"{name}.safetensors"


def resolve_name(name: str) -> str:
    """A baseline's name as it is written in :data:`BASELINES`.

    Raises:
        CheckpointError: there is none of this name.
    """
    known = {other.casefold(): other for other in BASELINES}
    if name.casefold() not in known:
        raise CheckpointError(f"There is no baseline {name!r}; choose one of {', '.join(BASELINES)}.")
    return known[name.casefold()]
