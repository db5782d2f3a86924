"""Which baselines there are, and :func:`load_baseline`, the one way in which one is had.

Owns names and where weights are looked for: none are needed, or a file of the baseline's authors is given, or one that
was trained here lies in ``SAMEWHERE_HOME/baselines``. Nothing is downloaded.
"""

from __future__ import annotations

from pathlib import Path

from data.errors import CheckpointError
from model.baselines.base import Baseline
from model.baselines.encodings import ENCODINGS, EncodingBaseline
from model.baselines.geoclip import load_geoclip

TRAINABLE: tuple[str, ...] = ()
"""Those that ``samewhere train --baseline`` makes."""

BASELINES: tuple[str, ...] = (*ENCODINGS, "geoclip", *TRAINABLE)
"""Every baseline's name."""


def load_baseline(name: str, *, weights: Path | str | None = None) -> Baseline:
    """Load a baseline.

    Args:
        name: one of :data:`BASELINES`, in any case.
        weights: a file or folder of its authors; see docs/baselines.md. By default what was trained here, or for
            "geoclip" the installed package.

    Raises:
        CheckpointError: no such baseline; or its weights are not there, damaged, or of another baseline.
        MissingDependencyError: the package that holds or reads the weights is not installed.
    """
    known = {other.casefold(): other for other in BASELINES}
    if name.casefold() not in known:
        raise CheckpointError(f"There is no baseline {name!r}; choose one of {', '.join(BASELINES)}.")
    name = known[name.casefold()]
    given = None if weights is None else Path(weights).expanduser()
    if name in ENCODINGS:
        if given is not None:
            raise CheckpointError(f"The baseline {name} has no weights, so {given} cannot be its; leave it out.")
        return EncodingBaseline(name)
    return load_geoclip(given)
