"""One training run: its folder, its trainer, the state from which it goes on, and the papers it leaves.

Owns what a run's folder holds: ``config.yaml`` as resolved, ``run.json`` (command, git commit, versions), ``last.ckpt``
(the state to go on from), ``metrics.csv`` and ``curves.png`` (one row an epoch), ``logs/`` (every step, as CSV and for
TensorBoard). Refuses to go on in the folder of another recipe.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import lightning
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from data.errors import CheckpointError
from model.contrastive import ContrastiveModule

STATE = "last.ckpt"


@dataclass(frozen=True)
class RunOptions:
    """How a recipe is run; the weights it makes depend on ``precision`` alone, and on that by rounding only.

    Attributes:
        accelerator: "auto", "cpu", "gpu" or "mps".
        devices: processes on this machine, "auto" for every GPU; under ``torchrun``, what that was told.
        nodes: machines; under ``torchrun``, what that was told.
        strategy: Lightning's, as in "ddp"; "auto" is that where there is more than one process.
        precision: "fp32", or "bf16" for the matrix products; "auto" takes the faster one here.
        compile: ``torch.compile`` the image encoder.
        workers: processes that read images, for each device.
        save_every_steps: optimiser steps between two states within an epoch; 0 saves after each epoch alone.
        keep_pixels_gb: an image encoder that learns sees a chunk twice; pixels up to this size wait in memory in the
            meantime, the others are read again.
    """

    accelerator: str = "auto"
    devices: int | Literal["auto"] = "auto"
    nodes: int = 1
    strategy: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: bool = False
    workers: int = 0
    save_every_steps: int = 0
    keep_pixels_gb: float = 1.0


def as_launched(options: RunOptions) -> RunOptions:
    """Take the number of processes and machines from ``torchrun`` where this process was started by it."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return options
    here, all_of_them = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
    return dataclasses.replace(options, devices=here, nodes=all_of_them // here)


class SaveState(Checkpoint):
    """Write ``last.ckpt`` every so many steps and after every epoch, whole or not at all."""

    def __init__(self, path: Path, every_steps: int) -> None:
        """Save to ``path``; ``every_steps`` optimiser steps apart, or not within an epoch if that is 0."""
        self.path, self.every_steps, self._last = path, every_steps, 0

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save behind an optimiser step; the last one of an epoch is left to the epoch's end."""
        step, ended = trainer.global_step, batch_idx + 1 == trainer.num_training_batches
        if self.every_steps and step >= self._last + self.every_steps and not ended and not module._chunks:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Save after the epoch's figures are known."""
        self._save(trainer)

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Count from where the run goes on."""
        self._last = trainer.global_step

    def _save(self, trainer: lightning.Trainer) -> None:
        self._last = trainer.global_step
        beside = self.path.with_name(self.path.name + ".partial")
        trainer.save_checkpoint(beside)  # by all processes: it ends with a barrier
        if trainer.is_global_zero:
            with beside.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(beside, self.path)


def open_run(folder: Path, config: str, *, resume: bool, command: str) -> Path | None:
    """Make a run's folder, or find the state to go on from.

    Args:
        folder: of the run.
        config: the recipe as YAML; it must be the one with which the folder was begun.
        resume: go on from the folder's state if there is one; otherwise start over.
        command: how the run was started.

    Returns:
        The state to go on from, or None.

    Raises:
        CheckpointError: the folder holds the state of another recipe.
    """
    recipe, state = folder / "config.yaml", folder / STATE
    going_on = resume and state.exists()
    if going_on and (not recipe.exists() or recipe.read_text(encoding="utf-8") != config):
        raise CheckpointError(
            f"{folder} holds a run of another recipe. Choose another folder, or start over with --restart."
        )
    if getattr(rank_zero_only, "rank", 0) == 0:
        folder.mkdir(parents=True, exist_ok=True)
        recipe.write_text(config, encoding="utf-8")
        facts = {
            "command": command,
            "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "goes_on": going_on,
            "git_commit": git_commit(),
            "python": sys.version.split()[0],
            "torch": torch.__version__,
            "lightning": lightning.__version__,
        }
        (folder / "run.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return state if going_on else None


def git_commit() -> str | None:
    """Commit of the project's checkout, with "+" where files differ from it; None outside a checkout."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed.strip() else "")


def fit(
    module: ContrastiveModule,
    folder: Path,
    *,
    epochs: int,
    options: RunOptions,
    state: Path | None,
    train: Any,
    validation: Any = None,
    callbacks: tuple[Callback, ...] = (),
) -> bool:
    """Run the training and leave its papers.

    Args:
        module: what is trained.
        folder: of the run, opened before.
        epochs: to train.
        options: how to run.
        state: to go on from, or None.
        train: the training loader, or a data module.
        validation: the loaders of the held-out rows.
        callbacks: besides the run's own.

    Returns:
        Whether this process is the one that writes.
    """
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator=options.accelerator,
        devices=options.devices,
        num_nodes=options.nodes,
        strategy=options.strategy,
        precision="bf16-mixed" if _bfloat16(options.precision) else "32-true",
        logger=[CSVLogger(folder / "logs", name="csv"), TensorBoardLogger(folder / "logs", name="tensorboard")],
        log_every_n_steps=10,
        default_root_dir=folder,
        callbacks=[SaveState(folder / STATE, options.save_every_steps), TQDMProgressBar(refresh_rate=20), *callbacks],
        enable_model_summary=False,
        num_sanity_val_steps=0,
        benchmark=True,  # batches are all of one shape
        use_distributed_sampler=False,  # EpochBatches shares its batches out itself
    )
    with warnings.catch_warnings():
        for meant in ("Found .* in eval mode", "The number of training batches", "Total length of `list`"):
            warnings.filterwarnings("ignore", message=meant)
        trainer.fit(module, train, validation, ckpt_path=None if state is None else str(state), weights_only=True)
    if trainer.is_global_zero:
        table = pd.DataFrame(module.history)
        table.to_csv(folder / "metrics.csv", index=False)
        draw_curves(table, folder / "curves.png")
    return trainer.is_global_zero


def draw_curves(table: pd.DataFrame, picture: Path) -> None:
    """Plot losses and recalls of a run, one row an epoch."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), constrained_layout=True)
    for axis, word in zip(axes, ("loss", "recall"), strict=True):
        columns = sorted(name for name in table if name.startswith(word))
        for column in columns:
            axis.plot(table["epoch"] + 1, table[column], marker="o", markersize=3, label=column)
        axis.set(xlabel="epoch", ylabel=word + (" (nats)" if word == "loss" else " of held-out places"))
        axis.grid(alpha=0.3)
        if columns:
            axis.legend(frameon=False)
    figure.savefig(picture, dpi=120)
    plt.close(figure)


def _bfloat16(precision: str) -> bool:
    """Whether to multiply in bfloat16; by default where this machine does that faster than in float32."""
    if precision != "auto":
        return precision == "bf16"
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported())
