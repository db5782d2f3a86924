"""Where the time of a training step on the Blue Marble preset goes.

    python -m benchmarks.training_step [--steps 30]

Runs the preset's own networks, loader and trainer for some steps on places of its own. "Waiting" is all that passes
between the end of one step and the start of the next: reading the batch, the trainer, the logs. "Views" is the
cutting and augmentation of patches within the step.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import lightning
import numpy as np
import torch

from benchmarks.timing import Result, Row, main
from data.land import sample_land
from model import train
from model.augment import augment
from model.batches import EpochBatches, ResumableLoader
from model.presets import PRESETS
from model.run import RunOptions, fit

QUICK = {"steps": 2}
WARM_UP = 3


class Clock(lightning.Callback):
    """Seconds within steps and between them."""

    def __init__(self) -> None:
        """Begin with none."""
        self.step: list[float] = []
        self.waiting: list[float] = []
        self.last: float | None = None

    def on_train_batch_start(self, *_: Any) -> None:
        """A step begins."""
        now = time.perf_counter()
        if self.last is not None:
            self.waiting.append(now - self.last)
        self.last = now

    def on_train_batch_end(self, *_: Any) -> None:
        """A step ends."""
        now = time.perf_counter()
        assert self.last is not None
        self.step.append(now - self.last)
        self.last = now


def run(steps: int = 30) -> Result:
    """Run the steps; seconds and shares of each part."""
    counted, steps = steps, steps + WARM_UP
    config = dataclasses.replace(PRESETS["blue-marble"], epochs=1)
    places = sample_land(steps * config.batch, rng=np.random.default_rng(0))
    data = train.PlaceSet(places)
    views: list[float] = []

    def timed(*given: Any, **named: Any) -> Any:
        start = time.perf_counter()
        result = augment(*given, **named)
        views.append(time.perf_counter() - start)
        return result

    clock = Clock()
    batches = EpochBatches(len(data), batch=config.batch, seed=0)
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(train, "augment", timed):
        fit(
            train.PairModule(config, steps=steps),
            Path(folder),
            epochs=1,
            options=RunOptions(devices=1),
            state=None,
            train=ResumableLoader(data, batches),
            callbacks=(clock,),
        )
    waiting, step, drawn = sum(clock.waiting[WARM_UP - 1 :]), sum(clock.step[WARM_UP:]), sum(views[WARM_UP:])
    parts = {"waiting": waiting, "views": drawn, "networks": step - drawn, "whole": waiting + step}
    part = f"{counted} steps of {config.batch}"
    rows = [
        Row(name, took / counted, "s a step", part=part, more={"share": f"{took / (waiting + step):.1%}"})
        for name, took in parts.items()
    ]
    return Result(f"A training step of the Blue Marble preset, {torch.get_num_threads()} threads.", tuple(rows))


if __name__ == "__main__":
    main(run, QUICK)
