"""Baselines: the location encoders that papers compare SatCLIP with, behind one interface.

``load_baseline(name)`` gives an encoder with ``name``, ``dim`` and ``encode_location``; :data:`BASELINES` are the names
that need no file beyond what is installed or was trained here. docs/baselines.md has the table.
"""

from model.baselines.base import Baseline
from model.baselines.registry import BASELINES, TRAINABLE, load_baseline, train_baseline

__all__ = ["BASELINES", "TRAINABLE", "Baseline", "load_baseline", "train_baseline"]
