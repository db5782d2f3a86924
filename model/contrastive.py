"""What every contrastive training does in a step, an epoch and a checkpoint, whatever the networks are.

Owns the joining of chunks and processes into one batch, the optimiser step, recall on held-out rows, and the figures of
a run. The two trainings (:mod:`model.train` on the Blue Marble, :mod:`model.train_satclip` on folders of patches) say
only how a batch is encoded and what its loss is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, cast

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.batches import ResumableLoader
from model.gather import gather

Encoded = dict[str, Tensor]
_ROWS = 1024  # of the score matrix at a time


class ContrastiveModule(lightning.LightningModule, ABC):
    """A network under contrastive training."""

    def __init__(self, network: nn.Module, *, accumulate: int = 1, clip_norm: float | None = None) -> None:
        """Take the network.

        Args:
            network: what is trained and saved.
            accumulate: batches an optimiser step. Their gradients are averaged; they are no negatives of each other.
            clip_norm: largest norm of the gradient; None for no limit.
        """
        super().__init__()
        self.automatic_optimization = False
        self.network, self.accumulate, self.clip_norm = network, accumulate, clip_norm
        self.history: list[dict[str, float]] = []
        self._chunks: list[Encoded] = []  # encoded chunks of the batch under way
        self._losses: dict[str, Tensor] = {}  # sums over the epoch under way
        self._held_out: dict[str, list[tuple[Tensor, Tensor]]] = {}

    # ---- what a training must say ----

    @abstractmethod
    def encode(self, batch: Any, index: int) -> Encoded:
        """Turn one chunk into named tensors of n rows each, with gradients; ``index`` counts chunks in the epoch."""

    @abstractmethod
    def losses(self, encoded: Encoded) -> dict[str, Tensor]:
        """Named losses of one batch, joined over its chunks and over all processes; their sum is minimised."""

    @abstractmethod
    def encode_held_out(self, batch: Any, loader: int) -> dict[str, tuple[Tensor, Tensor]]:
        """Named pairs (images, places) of (n, D) vectors of held-out rows; ``loader`` counts the validation sets."""

    # ---- the same for all ----

    @property
    def loader(self) -> ResumableLoader:
        """The training data."""
        return cast(ResumableLoader, self.trainer.train_dataloader)

    def training_step(self, batch: Any, index: int) -> None:
        """Encode one chunk; with the last one of a batch, go back through all of it and perhaps step."""
        loader = self.loader
        self._chunks.append(self.encode(batch, index))
        if len(self._chunks) < loader.batches.chunks:
            return
        chunks, self._chunks = self._chunks, []
        losses = self.losses({name: gather(torch.cat([chunk[name] for chunk in chunks])) for name in chunks[0]})
        with torch.autocast(self.device.type, enabled=False):  # the way back takes each product's own precision
            self.manual_backward(torch.stack(list(losses.values())).sum() / self.accumulate)
        for name, loss in losses.items():
            self.log(f"loss_{name}", loss.detach(), prog_bar=True)
            # Summed up where it is: fetching it would wait for the device in every step.
            self._losses[name] = self._losses.get(name, torch.zeros((), dtype=torch.float64)) + loss.detach()
        done = index + 1
        if done // loader.batches.chunks % self.accumulate == 0 or done == len(loader.batches):
            self._step()
            loader.done = done

    def _step(self) -> None:
        optimizer = cast(Any, self.optimizers())
        if self.clip_norm is not None:
            self.clip_gradients(optimizer, gradient_clip_val=self.clip_norm, gradient_clip_algorithm="norm")
        optimizer.step()
        optimizer.zero_grad()
        cast(Any, self.lr_schedulers()).step()

    def on_train_epoch_end(self) -> None:
        """Keep the epoch's figures; they travel in the checkpoint, so that a resumed run has its whole curve."""
        batches = len(self.loader.batches) // self.loader.batches.chunks
        figures = {f"loss_{name}": float(total) / batches for name, total in self._losses.items()}
        recalls = {key: float(value) for key, value in self.trainer.callback_metrics.items() if "recall" in key}
        self.history.append({"epoch": float(self.current_epoch), **figures, **recalls})
        self._losses = {}

    def validation_step(self, batch: Any, _index: int, dataloader_idx: int = 0) -> None:
        """Keep the vectors of the held-out rows."""
        for name, pair in self.encode_held_out(batch, dataloader_idx).items():
            self._held_out.setdefault(name, []).append(pair)

    def on_validation_epoch_end(self) -> None:
        """Log retrieval recall among the held-out rows of all processes."""
        for name, parts in self._held_out.items():
            image, place = (gather(torch.cat([part[side] for part in parts])) for side in (0, 1))
            for k, share in recall(image, place, ks=(1, 10)).items():
                self.log(f"recall{k}_{name}", share, prog_bar=k == 10)
        self._held_out = {}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the figures beside the weights."""
        checkpoint["history"] = self.history
        checkpoint["losses"] = {name: total.cpu() for name, total in self._losses.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the figures up again."""
        self.history, self._losses = list(checkpoint["history"]), dict(checkpoint["losses"])


def recall(image: Tensor, place: Tensor, *, ks: Iterable[int]) -> dict[int, Tensor]:
    """Share of images whose true place is among the k best of all.

    Args:
        image: (N, D) vectors.
        place: (N, D); row i belongs to image i.
        ks: which k.

    Returns:
        One scalar 0…1 for each k.
    """
    image, place = functional.normalize(image, dim=1), functional.normalize(place, dim=1)
    ranks = []
    for start in range(0, len(image), _ROWS):
        scores = image[start : start + _ROWS] @ place.T
        worse = scores < scores.diagonal(start)[:, None]
        ranks.append((~worse).sum(dim=1) - 1)  # what ties, or is no number, ranks before it
    rank = torch.cat(ranks)
    return {k: (rank < k).float().mean() for k in ks}


def parameter_groups(
    network: nn.Module, *, weight_decay: float, factor: Callable[[str], float] = lambda _name: 1.0
) -> list[dict[str, Any]]:
    """Group what learns for AdamW: matrices decay, biases, norms and scales do not.

    Args:
        network: parameters without ``requires_grad`` are left out.
        weight_decay: of what decays.
        factor: of the learning rate, by a parameter's name.

    Returns:
        Groups with ``params``, ``weight_decay`` and ``factor``, in the order in which they were met.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((factor(name), parameter.ndim > 1), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": weight_decay if decays else 0.0, "factor": scale}
        for (scale, decays), parameters in groups.items()
    ]
