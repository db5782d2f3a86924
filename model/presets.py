"""The recipes: every number that makes a shipped checkpoint, in one place.

Owns :class:`TrainConfig` and the named presets. Why each number is what it is stands in ``docs/log.md``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

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
        augments: what happens to the patches, one for each trunk.
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
        read_out: weight of the error of a linear map, learned besides and thrown away, from a place's vector to
            low harmonics and to a description of its patch (:func:`model.looks.describe`); 0 for none. It keeps the
            vectors easy to read for what is fitted on them later.
        look_alike_width: kernel width in standard deviations of the patches' mean colour.
        seed: of every draw.
    """

    name: str
    pair: PairConfig
    augments: tuple[AugmentConfig, ...]
    places: int = 120_000
    validation_places: int = 2_000
    hold_out_blocks: bool = True
    batch: int = 512
    epochs: int = 6
    peak_lr: float = 2e-3
    weight_decay: float = 0.05
    max_scale: Mapping[str, float] = field(default_factory=dict)
    lr_factor: Mapping[str, float] = field(default_factory=dict)
    look_alike_share: Mapping[str, float] = field(default_factory=dict)
    look_alike_width: float = 0.4
    read_out: float = 0.0
    seed: int = SEED


# Three smooth branches, one part each, to 1.2 parts sharp: docs/log.md has the curve along which this was chosen.
_SHARP = BranchConfig(
    view=SHARP, trunk=0, degrees=40, hidden=512, layers=2, w0=1.0, dim=112, weight=math.sqrt(1.2 / 4.2)
)
_SMOOTH = BranchConfig(
    view=SMOOTH, degrees=10, hidden=512, layers=2, w0=10.0, dim=48, dropout=0.1, weight=math.sqrt(1 / 4.2)
)
_PAIR = PairConfig(
    branches={
        "sharp": _SHARP,
        "smooth_a": replace(_SMOOTH, trunk=0, orders=3),
        "smooth_b": replace(_SMOOTH, trunk=1),
        "smooth_c": replace(_SMOOTH, trunk=2, orders=4, w0=5.0),
    },
    trunks=(ImageConfig(), ImageConfig(widths=(16, 32, 64, 128)), ImageConfig(widths=(16, 32, 64, 128))),
)

PRESETS: Mapping[str, TrainConfig] = {
    "blue-marble": TrainConfig(
        name="blue-marble-l40",
        pair=_PAIR,
        augments=(AugmentConfig(),) * 3,
        max_scale={"sharp": 100.0, "smooth_a": 20.0, "smooth_b": 20.0, "smooth_c": 20.0},
        lr_factor={"smooth_a": 0.35, "smooth_b": 0.35, "smooth_c": 0.35},
        look_alike_share={"smooth_a": 0.6, "smooth_c": 0.6},
    ),
}
