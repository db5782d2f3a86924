"""CSP's self-supervised training: three contrastive losses over places and frozen image features.

Owns the losses, the two published recipes, and the loop. What departs from the authors is the data: Blue Marble patches
of ``data.splits`` instead of fMoW or iNat2018, the embedded pair's image encoder instead of an Inception v3, both
frozen; and the number of epochs, so that a run takes minutes on one core.

Source:
    Mai et al. 2023, CSP (ICML), §3.2–3.3, the objective CSP-MC-BLD; temperatures, weights and rates are in the names of
    the published files, and the order of the operations was checked against ``main/losses.py`` of gengchenmai/csp.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from data.blue_marble import SOURCE
from data.geo import Floats
from model.baselines.csp import KIND, CSPConfig, CSPNetwork
from model.baselines.imagery import Features, image_features, training_places

Report = Callable[[str], None]


@dataclass(frozen=True)
class CSPTraining:
    """One run.

    Attributes:
        encoder: the location encoder.
        lr: of Adam, multiplied by ``lr_decay`` each epoch.
        lr_decay: see ``lr``.
        in_batch_temperature: cosines of places and the batch's images are divided by it.
        negative_temperature: the same for a random place against an image.
        simcse_temperature: the same for a place against itself under another dropout.
        negative_weight: of the loss with random places.
        simcse_weight: of the loss of a place with itself.
        negatives: random places for each image.
        places: training places.
        epochs: passes over them.
        batch: places a step.
        seed: of every draw.
    """

    encoder: CSPConfig = field(default_factory=CSPConfig)
    lr: float = 5e-4
    lr_decay: float = 0.98
    in_batch_temperature: float = 20.0
    negative_temperature: float = 1.0
    simcse_temperature: float = 1.0
    negative_weight: float = 1.0
    simcse_weight: float = 1.0
    negatives: int = 1
    places: int = 30_000
    epochs: int = 30
    batch: int = 1024
    seed: int = 2026


RECIPES: Mapping[str, CSPTraining] = {
    "csp-inat": CSPTraining(),
    "csp-fmow": CSPTraining(
        encoder=CSPConfig(spa_f_act="gelu"), lr=5e-5, in_batch_temperature=1.0, simcse_weight=0.1, epochs=40
    ),
}
"""The authors' two, after the names of their published files."""


def in_batch_loss(places: Tensor, images: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of each place's own image among all of the batch; (N, D) unit vectors each."""
    target = torch.arange(len(places), device=places.device)
    return functional.cross_entropy(places @ images.T / temperature, target)


def negative_place_loss(places: Tensor, images: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of each image's own place among its random ones.

    Args:
        places: (N, D) unit vectors.
        images: (N, D) unit vectors.
        negatives: (K, N, D) unit vectors, K random places for each image.
        temperature: what cosines are divided by.
    """
    candidates = torch.cat([places[None], negatives])  # (1 + K, N, D)
    cosines = torch.einsum("knd,nd->nk", candidates, images)
    target = torch.zeros(len(places), dtype=torch.long, device=places.device)
    return functional.cross_entropy(cosines / temperature, target)


def simcse_loss(places: Tensor, again: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of each place's second pass, under another dropout, among those of the batch."""
    return in_batch_loss(places, again, temperature)


def random_places(count: int, generator: torch.Generator) -> Tensor:
    """(count, 2) degrees, drawn as the authors do ("sphericalold").

    A point of the unit disk (√(1 − u²)·cos θ, √(1 − u²)·sin θ) is stretched over longitude and latitude. It is not
    uniform over the sphere; it is the published recipe.
    """
    u = torch.rand(count, generator=generator, dtype=torch.float64) * 2 - 1
    theta = torch.rand(count, generator=generator, dtype=torch.float64) * 2 * math.pi
    radius = torch.sqrt(1 - u**2)
    return torch.stack([radius * theta.cos() * 180, radius * theta.sin() * 90], dim=1)


def fit_csp(config: CSPTraining, lonlat: Floats, features: Features, *, report: Report | None = None) -> CSPNetwork:
    """Train a location encoder on pairs of places and image features.

    Args:
        config: the recipe.
        lonlat: (N, 2) degrees.
        features: (N, F) of a frozen image encoder.
        report: is told of every epoch.

    Returns:
        The location encoder; the same seed gives the same weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        generator = torch.Generator().manual_seed(config.seed)
        network = CSPNetwork(config.encoder)
        image = nn.Linear(features.shape[1], config.encoder.num_filts)
        optimizer = torch.optim.Adam([*network.parameters(), *image.parameters()], lr=config.lr)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, config.lr_decay)
        points, seen = torch.from_numpy(lonlat), torch.from_numpy(features)
        batch = min(config.batch, len(points))
        network.train()
        for epoch in range(config.epochs):
            order = torch.randperm(len(points), generator=generator)
            losses = []
            for start in range(0, len(points) - batch + 1, batch):
                rows = order[start : start + batch]
                loss = _loss(config, network, image(seen[rows]), points[rows], generator)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                losses.append(loss.item())
            schedule.step()
            if report is not None:
                report(f"epoch {epoch + 1} of {config.epochs}: loss {np.mean(losses):.4f}")
    return network.eval()


def train_csp(config: CSPTraining, *, report: Report | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Train on the Blue Marble.

    Returns:
        The weights, and the card.
    """
    lonlat = training_places(config.places)
    if report is not None:
        report(f"looking at {len(lonlat):,} places")
    network = fit_csp(config, lonlat, image_features(lonlat), report=report)
    card = {
        "kind": KIND,
        "config": dataclasses.asdict(config.encoder),
        "description": "location encoder of CSP (Mai et al. 2023, ICML), CSP-MC-BLD, trained here",
        "source": "Mai et al. 2023, CSP (ICML)",
        "training_data": f"{SOURCE}; {len(lonlat):,} patches over land, outside the held-out blocks",
        "stand_in": "frozen image features are those of the embedded pair, not of an Inception v3",
        "recipe": dataclasses.asdict(config),
        "weights": "trained here",
        "license": "MIT",
    }
    return dict(network.state_dict()), card


def _loss(
    config: CSPTraining, network: CSPNetwork, images: Tensor, points: Tensor, generator: torch.Generator
) -> Tensor:
    """The three losses of a batch, weighted."""
    count = len(points)
    drawn = random_places(count * config.negatives, generator)
    # Three passes at once: every row has a dropout of its own.
    vectors = functional.normalize(network(torch.cat([points, points, drawn])), dim=1)
    places, again, negatives = torch.split(vectors, [count, count, len(drawn)])
    images = functional.normalize(images, dim=1)
    return (
        in_batch_loss(places, images, config.in_batch_temperature)
        + config.negative_weight
        * negative_place_loss(places, images, negatives.view(config.negatives, count, -1), config.negative_temperature)
        + config.simcse_weight * simcse_loss(places, again, config.simcse_temperature)
    )
