"""The recipes: every number that makes a shipped checkpoint, in one place.

Owns :class:`TrainConfig` and the named presets. Why each number is what it is stands in ``docs/log.md``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from data.splits import SEED
from model.augment import AugmentConfig
from model.image import ImageConfig
from model.location import BranchConfig
from model.pair import PairConfig
from model.views import SHARP, SMOOTH


@dataclass(frozen=True)
class TrainConfig:
    """One training run.

    Attributes:
        name: of the checkpoint it makes.
        pair: the networks.
        augment: what happens to the patches.
        places: training centres drawn over the land.
        validation_places: of these, how many only monitor the run.
        hold_out_blocks: keep a tenth of the 10° blocks out, to measure places the model has never seen.
        batch: images a step.
        epochs: passes over the places.
        peak_lr: of the one-cycle schedule.
        weight_decay: on matrices, none on biases, norms and scales.
        max_scale: clamp of each branch's inverse temperature.
        lr_factor: of each branch's location network, relative to ``peak_lr``; a small one keeps the branch smooth.
        look_alike_share: of each branch, how much of the target is spread over look-alikes
            (:func:`model.loss.look_alike_targets`).
        look_alike_width: kernel width in standard deviations of the patches' mean colour.
        seed: of every draw.
    """

    name: str
    pair: PairConfig
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    places: int = 120_000
    validation_places: int = 2_000
    hold_out_blocks: bool = True
    batch: int = 512
    epochs: int = 7
    peak_lr: float = 2e-3
    weight_decay: float = 0.05
    max_scale: Mapping[str, float] = field(default_factory=lambda: {SMOOTH: 20.0, SHARP: 100.0})
    lr_factor: Mapping[str, float] = field(default_factory=lambda: {SMOOTH: 0.35, SHARP: 1.0})
    look_alike_share: Mapping[str, float] = field(default_factory=lambda: {SMOOTH: 0.6, SHARP: 0.0})
    look_alike_width: float = 0.4
    seed: int = SEED


_SMOOTH = BranchConfig(degrees=10, hidden=512, layers=2, w0=10.0, dim=128, dropout=0.1, orders=3)
_SHARP = BranchConfig(degrees=40, hidden=512, layers=2, w0=1.0, dim=128)
_PAIR = PairConfig(
    branches={SMOOTH: _SMOOTH, SHARP: _SHARP},
    image=ImageConfig(widths=(24, 48, 96, 192)),
    # Ten parts smooth to four parts sharp: docs/log.md has the curve along which this was chosen.
    smooth_weight=math.sqrt(1 / 1.4),
)

PRESETS: Mapping[str, TrainConfig] = {
    "blue-marble": TrainConfig(name="blue-marble-l40", pair=_PAIR),
}
