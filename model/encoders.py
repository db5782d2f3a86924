"""Location encoders by name: a pair, one view of a pair, or a baseline.

Owns what a name means on the command line, and the list that stands behind "all". Refuses names that are neither.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import SamewhereError
from model.downstream import LocationEncoder, ViewEncoder
from model.views import BOTH, VIEWS

if TYPE_CHECKING:
    from model.encoder import EncoderPair

ALL = "all"


def load_encoder(name: str) -> LocationEncoder:
    """An encoder by name.

    Args:
        name: of a baseline, as "csp", or of one and a file of its authors, as "csp=model_fmow.pth.tar"; of a pair or
            its file, as "blue-marble-l40"; or of a pair and one of its views, as "blue-marble-l40:smooth".

    Raises:
        CheckpointError: there is no such pair, or a baseline whose file is missing; the sentence says what to do.
        QueryError: the pair has no such view.
    """
    from model.baselines import BASELINES, load_baseline

    kind, _, weights = name.partition("=")
    if kind in BASELINES:
        baseline = load_baseline(kind, weights=weights or None)
        baseline.name = name if not weights else f"{kind}={Path(weights).name}"
        return baseline
    pair, _, view = name.rpartition(":")
    if view in VIEWS and pair:
        return ViewEncoder(_pair(pair), view)
    return ViewEncoder(_pair(name))


def with_views(name: str) -> list[LocationEncoder]:
    """A pair by name: its whole vector, then the part that each of its views looks at, where it has several."""
    pair = _pair(name)
    parts = [view for view in pair.views if view != BOTH]
    return [ViewEncoder(pair), *(ViewEncoder(pair, view) for view in parts)]


def load_baselines(names: list[str] | None = None) -> tuple[list[LocationEncoder], dict[str, str]]:
    """Baselines by name, or every one that can be loaded here.

    Returns:
        The encoders; and of those that cannot be loaded, where none was named, the reason.

    Raises:
        SamewhereError: one that was named cannot be loaded.
    """
    from model.baselines import BASELINES

    if names is not None:
        return [load_encoder(name) for name in names], {}
    found: list[LocationEncoder] = []
    missing: dict[str, str] = {}
    for name in BASELINES:
        try:
            found.append(load_encoder(name))
        except SamewhereError as error:
            missing[name] = str(error)
    return found, missing


def own_names(encoders: list[LocationEncoder]) -> set[str]:
    """Names of the encoders that are pairs, or views of them."""
    return {encoder.name for encoder in encoders if isinstance(encoder, ViewEncoder)}


def _pair(name: str) -> EncoderPair:
    from model.checkpoint import load

    pair: Any = load(name, part="location")
    return pair  # type: ignore[no-any-return]
