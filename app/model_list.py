"""Which checkpoints there are, what they are, and what was measured of them: plain data for the pages.

Owns the reading of cards. Touches no network but in :func:`pull`, and loads no weights.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from data.errors import CheckpointError
from model import hub


@dataclass(frozen=True)
class ModelView:
    """A checkpoint as the page shows it.

    Attributes:
        name: as ``samewhere models`` knows it.
        here: whether it is on this machine.
        official: whether it is one of SatCLIP's.
        size: in MB, or a range of it.
        gsd_m: metres a pixel of what it was trained on, or None.
        trained_on: in words.
        license: of the weights.
        paper: to cite.
        measured: tables of figures by task, from its card.
        problem: why its file cannot be used, or ''.
    """

    name: str
    here: bool
    official: bool
    size: str
    gsd_m: float | None = None
    trained_on: str = ""
    license: str = ""
    paper: str = ""
    measured: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    problem: str = ""


def models() -> list[ModelView]:
    """Every checkpoint that can be loaded by its name: the shipped, the official, and those put there by hand."""
    names = [*hub.embedded_names(), *hub.OFFICIAL, *(path.name for path in hub.own_files())]
    return [view(name) for name in names]


def here() -> list[str]:
    """Names of those on this machine, the shipped ones first."""
    return [model.name for model in models() if model.here]


def view(name: str) -> ModelView:
    """What is known of one checkpoint without loading it."""
    official = hub.OFFICIAL.get(name)
    path, problem = None, ""
    card: dict[str, Any] = {}
    try:
        path = hub.find(name)
        if path is not None and path.suffix == ".safetensors":
            card = hub.read_card(path)
    except CheckpointError as error:
        problem = str(error)
    if official is not None:
        size = f"{path.stat().st_size / 1e6:.0f}" if path else "{} to {}".format(*official.size_mb)
        return ModelView(
            name=name,
            here=path is not None and not problem,
            official=True,
            size=size,
            gsd_m=10.0,
            trained_on="S2-100K: 100,000 Sentinel-2 images of 2.5 km",
            license=official.license,
            paper=official.paper,
            problem=problem,
        )
    return ModelView(
        name=name,
        here=path is not None and not problem,
        official=False,
        size=f"{path.stat().st_size / 1e6:.0f}" if path else "",
        gsd_m=card.get("gsd_m"),
        trained_on=str(card.get("training_data", "")),
        license=str(card.get("license", "")),
        paper=str(card.get("paper") or ""),
        measured=_figures(card),
        problem=problem,
    )


def pull(name: str) -> None:
    """Download an official checkpoint; needs a network.

    Raises:
        CheckpointError: it is not official, or cannot be had.
    """
    if name not in hub.OFFICIAL:
        raise CheckpointError(f"{name[:60]!r} is no official checkpoint; there are {', '.join(hub.OFFICIAL)}.")
    hub.pull(name)


FIGURES = {
    "recall1": "found first, %",
    "recall10": "among ten, %",
    "median_error_km": "median error, km",
    "median_rank_percent": "median rank, %",
    "same_climate": "same climate, %",
    "temperature_k": "temperature off by, K",
    "precipitation_mm": "rain off by, mm",
    "elevation_m": "elevation off by, m",
}
SHARES = ("recall1", "recall10", "same_climate")


def _figures(card: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Measured figures of a card: a table for each task, a row for each way to compare."""
    tables: dict[str, list[dict[str, Any]]] = {}
    metrics = card.get("metrics")
    for task, ways in (metrics if isinstance(metrics, dict) else {}).items():
        rows = []
        for way, figures in (ways if isinstance(ways, dict) else {}).items():
            if not isinstance(figures, dict):
                continue
            row: dict[str, Any] = {"way to compare": str(way)}
            for name, value in figures.items():
                if isinstance(value, int | float) and not isinstance(value, bool):
                    shown = 100 * value if name in SHARES else value
                    row[FIGURES.get(name, str(name).replace("_", " "))] = float(f"{shown:.3g}")
            rows.append(row)
        if rows:
            tables[str(task)] = rows
    return tables
