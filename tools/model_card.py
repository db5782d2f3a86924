"""Writes facts and figures of the pair that ships into ``docs/model-card.md``: ``python -m tools.model_card``.

They come from the card beside the weights, into which the training and ``samewhere evaluate retrieval`` wrote them, and
from the weights themselves. A test fails where page and card differ.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from safetensors import safe_open

from app.commands.evaluate import as_markdown

ROOT = Path(__file__).parents[1]
WEIGHTS = ROOT / "model" / "weights" / "blue-marble-l40.safetensors"
OUT = ROOT / "docs" / "model-card.md"


def parts() -> dict[str, str]:
    """What belongs between the marks of each name."""
    card = json.loads(WEIGHTS.with_suffix(".json").read_text("utf-8"))
    return {"facts": _facts(card), "figures": as_markdown(card["metrics"])}


def put(page: str) -> str:
    """A page with the facts and figures of today between its marks.

    Raises:
        ValueError: the page has not each mark once.
    """
    for name, text in parts().items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        if page.count(begin) != 1 or page.count(end) != 1:
            raise ValueError(f"{OUT.name} should hold {begin} and {end}, each once.")
        before, rest = page.split(begin)
        page = f"{before}{begin}\n\n{text}\n\n{end}{rest.split(end)[1]}"
    return page


def main() -> None:
    """Write the page."""
    OUT.write_text(put(OUT.read_text("utf-8")), encoding="utf-8")


def _facts(card: dict[str, Any]) -> str:
    with safe_open(WEIGHTS, framework="np") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118  # no mapping
    config, recipe = card["config"], card["recipe"]
    degrees = sorted({branch["degrees"] for branch in config["branches"].values()})
    networks = f"{len(config['trunks'])} image trunks, {len(config['branches'])} location networks on harmonics of L = "
    steps = f"batches of {recipe['batch']:,}, {recipe['epochs']} epochs, seed {card['seed']}"
    rows = {
        "name": f"`{card['name']}`",
        "sees": f"{', '.join(card['bands'])}: {card['normalisation']}",
        "a pixel, a patch": f"{card['gsd_m'] / 1000:.1f} km, {card['patch_px']} × {card['patch_px']} pixels",
        "embedding": f"{card['embedding_dim']} numbers, of unit length",
        "networks": networks + " and ".join(map(str, degrees)),
        "size": f"{sum(map(math.prod, shapes.values())):,} numbers, {WEIGHTS.stat().st_size / 1e6:.1f} MB",
        "trained on": card["training_data"],
        "held out": card["held_out"],
        "recipe": f"`{card['command']}`: {steps}",
        "licence": f"{card['license']}, code and weights",
        "SHA-256": f"`{card['sha256']}`",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


if __name__ == "__main__":
    main()
