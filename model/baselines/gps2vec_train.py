"""Training GPS2Vec's networks on the Blue Marble, all zones at once.

Owns the recipe, the stand-ins for photographs' labels, and the loop. As published: a grid of 20×20 kernels of 20 km,
three hidden layers each twice as wide as the one before, softmax, Adam at 1e-3, one network a zone that sees its own
zone's places alone. What departs from the authors: **labels are stand-ins** (:mod:`model.baselines.imagery`), and
layers are an eighth as wide, because a zone has some seventy places here where theirs have thousands of photographs,
and because 500 networks of 28 MB each would be 14 GB.

Source:
    Yin et al. 2019, GPS2Vec (SIGSPATIAL), §3; Yin et al. 2021 (ACM Multimedia), §3.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data.blue_marble import SOURCE
from data.geo import Floats
from model.baselines.gps2vec import CELLS, KIND
from model.baselines.imagery import (
    Features,
    bag_of_words,
    cluster_numbers,
    image_features,
    piece_features,
    training_places,
)
from model.baselines.utm import kernels, zone_of

Report = Callable[[str], None]


@dataclass(frozen=True)
class GPS2VecTraining:
    """One run.

    Attributes:
        heads: name and number of classes of each output.
        widths: of the hidden layers.
        lr: of Adam.
        places: training places.
        epochs: passes over the places, for a zone that has as many as the average; every zone takes as many steps.
        batch: places of a zone a step, drawn with replacement.
        seed: of every draw.
    """

    heads: tuple[tuple[str, int], ...] = (("tag", 200),)
    widths: tuple[int, ...] = (64, 128, 256)
    lr: float = 1e-3
    places: int = 40_000
    epochs: int = 60
    batch: int = 32
    seed: int = 2026


RECIPES: Mapping[str, GPS2VecTraining] = {
    "gps2vec-tag": GPS2VecTraining(),
    "gps2vec-visual": GPS2VecTraining(heads=(("object", 128), ("scene", 32))),
}
"""Tags: shares of 200 visual words among a patch's 16 pieces. Objects and scenes: clusters of whole patches."""


def make_targets(config: GPS2VecTraining, lonlat: Floats) -> list[Features]:
    """The stand-in labels of (N, 2) places: for each head (N, classes), rows that sum to one."""
    if [name for name, _ in config.heads] == ["tag"]:
        words = config.heads[0][1]
        pieces = piece_features(lonlat)
        numbers = cluster_numbers(pieces.reshape(-1, pieces.shape[2]), words, seed=config.seed)
        return [bag_of_words(numbers.reshape(len(pieces), -1), words)]
    vectors = image_features(lonlat)
    return [
        bag_of_words(cluster_numbers(vectors, classes, seed=config.seed + i)[:, None], classes)
        for i, (_, classes) in enumerate(config.heads)
    ]


def fit_gps2vec(
    config: GPS2VecTraining, lonlat: Floats, targets: Sequence[Features], *, report: Report | None = None
) -> tuple[list[str], dict[str, Tensor]]:
    """Train one network for every zone that has a place.

    Args:
        config: the recipe.
        lonlat: (N, 2) degrees.
        targets: for each head (N, classes) float32, rows that sum to one.
        report: is told of every fiftieth step.

    Returns:
        The zones, and the tensors ``hidden.{i}.*`` and ``heads.{i}.*``, whose first axis is the zones; half precision.
    """
    rng = np.random.default_rng(config.seed)
    zone = zone_of(lonlat)
    zones: list[str] = np.unique(zone).tolist()
    rows = [np.flatnonzero(zone == name) for name in zones]
    seen = np.empty((len(lonlat), CELLS * CELLS), dtype=np.float32)
    for name, members in zip(zones, rows, strict=True):
        seen[members] = kernels(lonlat[members], name, cells=CELLS)
    features, wanted = torch.from_numpy(seen), [torch.from_numpy(target) for target in targets]
    sizes = [CELLS * CELLS, *config.widths]
    shapes = {f"hidden.{i}": (sizes[i + 1], sizes[i]) for i in range(len(config.widths))}
    shapes |= {f"heads.{i}": (classes, sizes[-1]) for i, (_, classes) in enumerate(config.heads)}
    generator = torch.Generator().manual_seed(config.seed)
    weights = {name: _layer(len(zones), *shape, generator) for name, shape in shapes.items()}
    optimizer = torch.optim.Adam([part for layer in weights.values() for part in layer], lr=config.lr)
    steps = max(1, round(config.epochs * len(lonlat) / (len(zones) * config.batch)))
    for step in range(1, steps + 1):
        # (Z, batch): every zone draws among its own places.
        drawn = np.stack([members[rng.integers(len(members), size=config.batch)] for members in rows])
        index = torch.from_numpy(drawn)
        x = features[index]  # (Z, batch, 400)
        for i in range(len(config.widths)):
            x = torch.relu(_apply(weights[f"hidden.{i}"], x))
        losses = [
            -(target[index] * torch.log_softmax(_apply(weights[f"heads.{i}"], x), dim=2)).sum(dim=2).mean()
            for i, target in enumerate(wanted)
        ]
        loss = torch.stack(losses).sum()
        optimizer.zero_grad()
        (loss * len(zones)).backward()  # type: ignore[no-untyped-call]  # each zone's own mean
        optimizer.step()
        if report is not None and step % 50 == 0:
            report(f"step {step} of {steps}: loss {loss.item():.4f}")
    tensors = {}
    for name, (weight, bias) in weights.items():
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = weight.detach().half(), bias.detach()[:, 0].half()
    return zones, tensors


def train_gps2vec(config: GPS2VecTraining, *, report: Report | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Train on the Blue Marble.

    Returns:
        The weights, and the card.
    """
    lonlat = training_places(config.places)
    if report is not None:
        report(f"looking at {len(lonlat):,} places")
    zones, tensors = fit_gps2vec(config, lonlat, make_targets(config, lonlat), report=report)
    card = {
        "kind": KIND,
        "config": {"zones": zones, "widths": config.widths, "heads": config.heads},
        "description": f"GPS2Vec (Yin et al. 2019, 2021), {len(zones)} zones, trained here on stand-in labels",
        "source": "Yin et al. 2019 (SIGSPATIAL) and 2021 (ACM Multimedia), GPS2Vec",
        "training_data": f"{SOURCE}; {len(lonlat):,} patches over land, outside the held-out blocks",
        "stand_in": "labels are visual words of the Blue Marble, not tags or classes of photographs",
        "recipe": dataclasses.asdict(config),
        "weights": "trained here",
        "license": "MIT",
    }
    return tensors, card


def _layer(zones: int, outputs: int, inputs: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Weights (Z, out, in) after Glorot, as Keras draws them, and biases (Z, 1, out) of zero."""
    bound = math.sqrt(6 / (inputs + outputs))
    weight = (torch.rand(zones, outputs, inputs, generator=generator) * 2 - 1) * bound
    return weight.requires_grad_(), torch.zeros(zones, 1, outputs, requires_grad=True)


def _apply(layer: tuple[Tensor, Tensor], x: Tensor) -> Tensor:
    """(Z, n, in) to (Z, n, out), each zone through its own weights."""
    weight, bias = layer
    return torch.baddbmm(bias, x, weight.transpose(1, 2))
