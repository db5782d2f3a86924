"""The network as a head, after the paper's protocol: standardised targets, tuned on validation, ten initialisations.

Owns its training. The ten initialisations are two for each of five folds, so that every training place has the mean
answer of two networks that did not learn from it: what the intervals need (CV+), and a mean and a spread of the score.
Its fold did say when their training should end, as in the paper's protocol, so this score flatters a little; the
figures of random places and blocks (:mod:`model.fit`) are of places that had no part in it. The
head's answer is the mean over the ten, which errs less than a mean of two; by how much follows from how far the two are
apart, and left-out answers are drawn towards the truth by that factor.

Source:
    Klemmer et al. 2023, SatCLIP, section 4 (a multi-layer perceptron on the frozen embedding, tuned on a validation
    set, mean ± standard deviation over ten initialisations); Barber et al. 2021 (CV+).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional

from data.splits import folds_by_place

Floats = NDArray[np.float64]
FOLDS, TWINS = 5, 2
INITS = FOLDS * TWINS
EPOCHS = 30
"""At most; training ends where the validation error was least."""
PATIENCE = 10
STEPS = 24
"""Least steps in an epoch, so that small tables get as many as large ones."""
BATCH = 256


@dataclass(frozen=True)
class Setting:
    """What is tuned."""

    hidden: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3


GRID = (Setting(64), Setting(128), Setting(128, learning_rate=5e-3), Setting(128, weight_decay=0.1))


@dataclass(frozen=True)
class Mlp:
    """Fitted networks of two hidden layers with ReLU.

    Attributes:
        layers: weights (M, in, out) and biases (M, 1, out) of the three layers of M networks, in turn.
        centre: (D,) taken from the features.
        spread: (D,) by which they are then divided.
        mean: of the targets; 0 for classes.
        scale: their standard deviation; 1 for classes.
        classes: whether outputs are logarithms of shares.
    """

    layers: tuple[NDArray[np.float32], ...]
    centre: NDArray[np.float32]
    spread: NDArray[np.float32]
    mean: float
    scale: float
    classes: bool

    def __call__(self, features: NDArray[np.floating]) -> Floats:
        """(N, D) features to (N, T) outputs, the mean over the networks."""
        parts = self.members(features)
        return np.asarray(parts.mean(axis=0), dtype=np.float64)

    @torch.inference_mode()
    def members(self, features: NDArray[np.floating]) -> Floats:
        """(M, N, T) outputs of each network."""
        x = torch.from_numpy((np.asarray(features, dtype=np.float32) - self.centre) / self.spread)
        out = _forward(x, [torch.from_numpy(layer) for layer in self.layers]).double()
        if self.classes:
            return np.asarray(out.log_softmax(dim=-1).numpy())
        return np.asarray((out * self.scale + self.mean).numpy())


def fit_mlp(
    features: NDArray[np.float32],
    targets: Floats,
    classes: int,
    *,
    seed: int = 0,
    lonlat: ArrayLike | None = None,
) -> tuple[Mlp, Floats, dict[str, Any]]:
    """Tune, then train all initialisations.

    Args:
        features: (n, D).
        targets: (n,) values, or the classes' numbers.
        classes: how many; 0 for values.
        seed: of folds, initial weights and batches.
        lonlat: (n, 2) degrees; places at one coordinate are left out together.

    Returns:
        The head, (n, T) outputs for each place by networks that did not learn from it, and facts: the setting, and
        mean and standard deviation of R² or accuracy over the networks, each on the places that it left out.
    """
    rng = np.random.default_rng(seed)
    fold = _folds(len(features), FOLDS, rng, lonlat)
    centre = features.mean(axis=0)
    spread = features.std(axis=0) + 1e-6
    mean, scale = (0.0, 1.0) if classes else (float(targets.mean()), float(targets.std()))
    x = torch.from_numpy((features - centre) / spread)
    y = torch.from_numpy(targets).long() if classes else torch.from_numpy((targets - mean) / scale).float()
    trials = [_train(x, y, torch.from_numpy(fold == 0), classes, setting, seed=seed) for setting in GRID]
    best = min(range(len(GRID)), key=lambda number: trials[number][1])
    networks = [
        _train(x, y, torch.from_numpy(fold == number % FOLDS), classes, GRID[best], seed=seed + 1 + number)[0]
        for number in range(INITS)
    ]
    layers = tuple(torch.stack(parts).numpy() for parts in zip(*networks, strict=True))
    head = Mlp(layers, centre, spread, mean, scale, bool(classes))
    rows = np.arange(len(fold))
    outputs = head.members(features)
    twins = np.stack([outputs[fold + FOLDS * twin, rows] for twin in range(TWINS)])  # (2, n, T), neither had seen it
    left_out = twins.mean(axis=0)
    scores = []
    for number in range(INITS):
        held = fold == number % FOLDS
        own = outputs[number, held]
        if classes:
            scores.append(float((own.argmax(axis=1) == targets[held]).mean()))
        else:
            scores.append(1 - float(((own[:, 0] - targets[held]) ** 2).mean() / targets[held].var()))
    if not classes:
        apart = float(twins.var(axis=0, ddof=1).mean())  # variance of a network about their common mean
        error = float(((left_out[:, 0] - targets) ** 2).mean())
        smaller = max(0.25, 1 - apart * (1 / TWINS - 1 / INITS) / error) if error else 1.0
        left_out = targets[:, None] + (left_out - targets[:, None]) * np.sqrt(smaller)
    facts = {
        "hidden": GRID[best].hidden,
        "learning_rate": GRID[best].learning_rate,
        "weight_decay": GRID[best].weight_decay,
        "inits": INITS,
        "score_mean": float(np.mean(scores)),
        "score_sd": float(np.std(scores, ddof=1)),
    }
    return head, left_out, facts


def _forward(x: Tensor, layers: list[Tensor]) -> Tensor:
    for number in range(0, len(layers), 2):
        x = x @ layers[number] + layers[number + 1]
        if number + 2 < len(layers):
            x = x.relu()
    return x


def _train(
    x: Tensor, y: Tensor, held: Tensor, classes: int, setting: Setting, *, seed: int
) -> tuple[list[Tensor], float]:
    """Train one network without the held rows; its weights where their error was least, and that error."""
    generator = torch.Generator().manual_seed(seed)
    widths = (x.shape[1], setting.hidden, setting.hidden, classes or 1)
    layers = []
    for before, after in pairwise(widths):
        layers.append(torch.randn(before, after, generator=generator) * (2 / before) ** 0.5)
        layers.append(torch.zeros(1, after))
    parameters = [nn.Parameter(layer) for layer in layers]
    optimiser = torch.optim.AdamW(parameters, lr=setting.learning_rate, weight_decay=setting.weight_decay)

    def error(rows: Tensor) -> Tensor:
        out = _forward(x[rows], list(parameters))
        return functional.cross_entropy(out, y[rows]) if classes else functional.mse_loss(out[:, 0], y[rows])

    train, test = torch.nonzero(~held)[:, 0], torch.nonzero(held)[:, 0]
    batch = min(BATCH, len(train))
    steps = max(STEPS, len(train) // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS * steps)
    kept, least, since = [p.detach().clone() for p in parameters], float("inf"), 0
    for _ in range(EPOCHS):
        order = torch.cat(
            [torch.randperm(len(train), generator=generator) for _ in range(-(-steps * batch // len(train)))]
        )
        for step in range(steps):
            optimiser.zero_grad()
            error(train[order[step * batch : (step + 1) * batch]]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
        with torch.inference_mode():
            now = float(error(test))
        since += 1
        if now < least:
            kept, least, since = [p.detach().clone() for p in parameters], now, 0
        if since >= PATIENCE:
            break
    return kept, least


def _folds(n: int, count: int, rng: np.random.Generator, lonlat: ArrayLike | None) -> NDArray[np.int64]:
    """(n,) fold numbers of even sizes; rows at one coordinate share theirs."""
    if lonlat is not None:
        return folds_by_place(np.asarray(lonlat, dtype=np.float64), count, rng)
    return np.asarray(rng.permutation(n) % count, dtype=np.int64)
