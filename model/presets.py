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


# Six trunks that err differently where they were not trained: what they are shown differs, and the harmonics that the
# smooth branches on them see. To one part of these come a tenth of one that sees fine harmonics, but is asked only for
# likeness, and a quarter sharp: docs/log.md has the runs, and the curve along which the weights were chosen.
_PARTS = {
    "sharp": 0.27,
    "look": 0.12,
    "smooth_a": 0.25,
    "smooth_b": 0.125,
    "smooth_c": 0.125,
    "smooth_d": 0.125,
    "smooth_e": 0.25,
    "smooth_f": 0.125,
}
_SHARP = BranchConfig(view=SHARP, degrees=40, hidden=512, layers=2, w0=1.0, dim=64, weight=1.0)
_LOOK = replace(_SHARP, view=SMOOTH, hidden=384, dim=48)
_SMOOTH = BranchConfig(view=SMOOTH, degrees=10, hidden=384, layers=2, w0=10.0, dim=24, dropout=0.1, weight=1.0)
_BRANCHES = {
    "sharp": _SHARP,
    "look": _LOOK,
    "smooth_a": replace(_SMOOTH, trunk=0, orders=3),
    "smooth_b": replace(_SMOOTH, trunk=1),
    "smooth_c": replace(_SMOOTH, trunk=2, orders=4, w0=5.0),
    "smooth_d": replace(_SMOOTH, trunk=3, hidden=768, layers=1),
    "smooth_e": replace(_SMOOTH, trunk=4, orders=3),
    "smooth_f": replace(_SMOOTH, trunk=5),
}
_SMOOTH_NAMES = tuple(name for name in _BRANCHES if name.startswith("smooth"))
_LARGE = ImageConfig(widths=(24, 48, 96, 192), squeeze=48, features=384, contrast=True)
_SMALL = ImageConfig(widths=(16, 32, 64, 128), squeeze=32, features=256)
_RELIEF = replace(_SMALL, contrast=True)
_PAIR = PairConfig(
    branches={
        name: replace(branch, weight=math.sqrt(_PARTS[name] / sum(_PARTS.values())))
        for name, branch in _BRANCHES.items()
    },
    trunks=(_LARGE, _LARGE, _SMALL, _RELIEF, _RELIEF, _SMALL),
)
_TURNED = AugmentConfig(turn_deg=25.0, zoom=0.65)
_PAINTED = AugmentConfig(turn_deg=45.0, zoom=0.5, paint=0.5)

PRESETS: Mapping[str, TrainConfig] = {
    "blue-marble": TrainConfig(
        name="blue-marble-l40",
        pair=_PAIR,
        augments=(_TURNED, _PAINTED, _TURNED, _TURNED, _PAINTED, replace(_TURNED, turn_deg=10.0)),
        places=400_000,
        batch=2048,
        epochs=4,
        max_scale={"sharp": 100.0, "look": 20.0, **dict.fromkeys(_SMOOTH_NAMES, 20.0)},
        lr_factor=dict.fromkeys(_SMOOTH_NAMES, 0.35),
        look_alike_share={"look": 0.8, "smooth_a": 0.6, "smooth_c": 0.6, "smooth_e": 0.6},
        read_out=1.0,
    ),
}
