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


# Four trunks that err differently where they were not trained: what they are shown differs, and the harmonics that the
# smooth branches on them see. docs/log.md has the runs, and the curve along which the weights were chosen.
_SHARP_WEIGHT, _LOOK_WEIGHT = 0.2, 0.2
_TOTAL = 1 + _SHARP_WEIGHT + _LOOK_WEIGHT
_SHARP = BranchConfig(
    view=SHARP, degrees=40, hidden=512, layers=2, w0=1.0, dim=64, weight=math.sqrt(_SHARP_WEIGHT / _TOTAL)
)
_LOOK = replace(_SHARP, hidden=384, dim=48, weight=math.sqrt(_LOOK_WEIGHT / _TOTAL))
_SMOOTH = BranchConfig(
    view=SMOOTH, degrees=10, hidden=512, layers=2, w0=10.0, dim=36, dropout=0.1, weight=math.sqrt(1 / 4 / _TOTAL)
)
_TRUNK = ImageConfig(widths=(24, 48, 96, 192), squeeze=48, features=384)
_RELIEF = replace(_TRUNK, contrast=True)
_PAIR = PairConfig(
    branches={
        "sharp": _SHARP,
        "look": _LOOK,
        "smooth_a": replace(_SMOOTH, trunk=0, orders=3),
        "smooth_b": replace(_SMOOTH, trunk=1, hidden=1024, layers=1),
        "smooth_c": replace(_SMOOTH, trunk=2, orders=4, w0=5.0),
        "smooth_d": replace(_SMOOTH, trunk=3),
    },
    trunks=(_RELIEF, _RELIEF, _TRUNK, _RELIEF),
)
_TURNED = AugmentConfig(turn_deg=25.0, zoom=0.65)
_PAINTED = AugmentConfig(turn_deg=45.0, zoom=0.5, paint=0.5)
_SMOOTH_NAMES = tuple(name for name, branch in _PAIR.branches.items() if branch.view == SMOOTH)

PRESETS: Mapping[str, TrainConfig] = {
    "blue-marble": TrainConfig(
        name="blue-marble-l40",
        pair=_PAIR,
        augments=(_TURNED, _PAINTED, _TURNED, _TURNED),
        places=400_000,
        batch=4096,
        peak_lr=2.5e-3,
        epochs=12,
        max_scale={"sharp": 100.0, "look": 20.0, **dict.fromkeys(_SMOOTH_NAMES, 20.0)},
        lr_factor=dict.fromkeys(_SMOOTH_NAMES, 0.35),
        look_alike_share={"look": 0.8, "smooth_a": 0.6, "smooth_c": 0.6},
        read_out=1.0,
    ),
}
