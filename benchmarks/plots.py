"""Curves over sizes, from the results of ``scaling``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.tables import ROOT

IMAGES = ROOT / "docs" / "images"


def draw_all(results: Path, images: Path = IMAGES) -> list[Path]:
    """Draw what there are results for; the files."""
    found = results / "scaling.json"
    if not found.exists():
        return []
    rows = json.loads(found.read_bytes())["rows"]
    return [
        _draw(part, [row for row in rows if row["part"] == part], images)
        for part in dict.fromkeys(r["part"] for r in rows)
    ]


def _draw(part: str, rows: list[dict[str, Any]], images: Path) -> Path:
    """One picture: a line for each name over the size."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for name, marker in zip(dict.fromkeys(row["name"] for row in rows), "osD^vP", strict=False):
        some = [row for row in rows if row["name"] == name]
        sizes = [row["more"]["size"] for row in some]
        axes.plot(sizes, [row["value"] for row in some], marker=marker, label=name)
        axes.fill_between(sizes, [row["low"] for row in some], [row["high"] for row in some], alpha=0.2)
    axes.set(xscale="log", yscale="log", xlabel=rows[0]["more"]["axis"], ylabel=rows[0]["unit"], title=part)
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend()
    path = images / f"scaling-{part.split(',')[0].replace(' ', '-')}.png"
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path
