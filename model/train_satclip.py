"""Contrastive training of a SatCLIP pair on a folder of Sentinel-2 patches.

Owns what learns and what is frozen, the learning rate, and the files that this training leaves: ``NAME.ckpt`` in the
official format and ``NAME.safetensors`` with its card. Its data are :mod:`model.folder_data`'s.

Source:
    Klemmer et al. 2023, SatCLIP, arXiv:2311.17179, §3.3 (objective and optimiser) and its published training code.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from pathlib import Path
from typing import Any, cast

import lightning
import torch
from torch import Tensor, nn

from data.bands import GSD_M, L1C_BANDS
from data.dataset_patches import open_patches
from model.checkpoint import save
from model.config_files import as_yaml
from model.contrastive import ContrastiveModule, Encoded, parameter_groups
from model.folder_data import Batch, FolderData, channels, check_enough
from model.gradcache import encode_cached, freeze_batch_norm, return_memory
from model.loss import contrastive_loss
from model.recipes import FolderConfig
from model.run import RunOptions, as_launched, fit, open_run
from model.satclip import SatCLIPNetwork, SatCLIPPair
from model.trunks import load_trunk
from model.vision import head_names


class SatCLIPModule(ContrastiveModule):
    """The pair under training."""

    network: SatCLIPNetwork

    def __init__(self, config: FolderConfig, *, keep_pixels_gb: float = 1.0) -> None:
        """Build the networks, fetch the trunk's weights, and freeze what does not learn."""
        super().__init__(SatCLIPNetwork(config.network), accumulate=config.accumulate, clip_norm=config.clip_norm)
        self.config, self.keep_bytes, self._kept = config, keep_pixels_gb * 1e9, 0
        visual, layers = self.visual, config.network.vision_layers
        if config.trunk == "moco":
            load_trunk(visual, layers)
        self.network.train()
        if config.freeze_trunk:
            heads = head_names(layers)
            for name, parameter in visual.named_parameters():
                parameter.requires_grad_(name in heads or name.startswith(tuple(f"{head}." for head in heads)))
            visual.eval()
        elif config.freeze_batch_norm:
            freeze_batch_norm(visual)

    @property
    def visual(self) -> nn.Module:
        """The image encoder."""
        return cast(nn.Module, self.network.visual)

    def encode(self, batch: Batch, index: int) -> Encoded:
        """Both sides of one chunk."""
        pixels, lonlat, sigma, numbers = batch
        # Dropout draws anew in every chunk of every process, and the same again in a resumed run.
        torch.manual_seed(hash((self.config.seed, self.current_epoch, index, self.global_rank)) % 2**63)
        place = self._place(lonlat)
        if not self._chunks:
            self._kept = 0
        alone = self.loader.batches.chunks == 1
        if alone or self.config.freeze_trunk:  # a frozen trunk leaves no graph behind
            image = self._image(pixels, sigma)
        else:
            self._kept += pixels.nbytes
            image = encode_cached(
                lambda seen: self._image(seen, sigma),
                numbers,
                pixels,
                again=None if self._kept <= self.keep_bytes else self._read,
            )
        return {"image": image, "place": place}

    def losses(self, encoded: Encoded) -> dict[str, Tensor]:
        """The one loss, outside of mixed precision."""
        image, place = encoded["image"], encoded["place"]
        with torch.autocast(image.device.type, enabled=False):
            loss = contrastive_loss(image, place, self.network.logit_scale, max_scale=self.config.max_scale)
        return {"pair": loss}

    def encode_held_out(self, batch: Batch, loader: int) -> dict[str, tuple[Tensor, Tensor]]:
        """Both sides of one chunk of a validation set."""
        pixels, lonlat, sigma, _ = batch
        return {list(self._data.held_out)[loader]: (self._image(pixels, sigma), self._place(lonlat))}

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up, then a constant learning rate or a cosine."""
        # Asked of a loader of its own: the trainer's would be made before a resumed run knows its epoch.
        config, batches = self.config, self._data.train_dataloader().batches
        steps = -(-(len(batches) // batches.chunks) // config.accumulate) * config.epochs
        groups = parameter_groups(self.network, weight_decay=config.network.weight_decay)
        optimizer = torch.optim.AdamW(groups, lr=config.network.learning_rate)
        return [optimizer], [
            torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(step, steps, config))
        ]

    @property
    def _data(self) -> FolderData:
        data: FolderData = self.trainer.datamodule  # type: ignore[attr-defined]
        return data

    def _read(self, numbers: Tensor) -> Tensor:
        return self._data.train[numbers.tolist()][0].to(numbers.device)

    def _image(self, pixels: Tensor, sigma: Tensor) -> Tensor:
        weight = next(self.visual.parameters())
        x = channels(pixels, sigma).to(weight.dtype).contiguous(memory_format=torch.channels_last)
        image: Tensor = self.visual(x)
        return image.to(_loss_dtype(weight))

    def _place(self, lonlat: Tensor) -> Tensor:
        """The location side stays out of mixed precision: its sines are sensitive to rounding."""
        with torch.autocast(lonlat.device.type, enabled=False):
            place: Tensor = self.network.location(lonlat)
        return place.to(_loss_dtype(next(self.visual.parameters())))


def _loss_dtype(weight: Tensor) -> torch.dtype:
    return torch.float64 if weight.dtype == torch.float64 else torch.float32


def learning_rate_factor(step: int, steps: int, config: FolderConfig) -> float:
    """Share of the full learning rate at an optimiser step, of ``steps`` in all."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return 1.0
    share = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def train_satclip(
    config: FolderConfig,
    data: str | Path,
    folder: Path,
    *,
    resume: bool = True,
    command: str | None = None,
    options: RunOptions = RunOptions(),  # noqa: B008  # frozen
) -> Path:
    """Train a pair, or go on with a killed run in the same folder.

    Args:
        config: the recipe.
        data: folder of patches, or the name of a dataset.
        folder: where everything the run makes goes.
        resume: go on from ``last.ckpt`` if it is there; otherwise start over.
        command: how the run was started, for the card.
        options: how to run it; the same numbers come out on any number of devices, but for rounding and dropout.

    Returns:
        Path of the weights in the official format.

    Raises:
        PatchError: the folder has no index, a wrong one, or too few patches.
        CheckpointError: the run's folder holds the state of another recipe; the trunk's weights cannot be had.
    """
    command = command or " ".join(sys.argv)
    options, patches = as_launched(options), open_patches(data)
    check_enough(len(patches), config, str(data))
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    if config.chunk is not None:
        return_memory()
    module = SatCLIPModule(config, keep_pixels_gb=options.keep_pixels_gb)
    module.visual.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if options.compile:
        module.visual.compile()
    state = open_run(folder, as_yaml(config), resume=resume, command=command)
    source = FolderData(patches, config, folder, workers=options.workers, resume=state is not None)
    path = folder / f"{config.name}.ckpt"
    if fit(module, folder, epochs=config.epochs, options=options, state=state, train=source):
        module.network.cpu()
        save(module.network, path, card={})
        save(module.network, path.with_suffix(".safetensors"), card=make_card(config, source, command))
    return path


def make_card(config: FolderConfig, source: FolderData, command: str) -> dict[str, Any]:
    """What a checkpoint says of itself."""
    counts = {name: len(part) for name, part in source.held_out.items()}
    return {
        "bands": list(L1C_BANDS),
        "normalisation": SatCLIPPair.normalisation,
        "gsd_m": GSD_M,
        "patch_px": config.network.patch_px,
        "embedding_dim": config.network.embed_dim,
        "description": "A SatCLIP pair (Klemmer et al. 2023, arXiv:2311.17179) trained on Sentinel-2 patches.",
        "training_data": f"{len(source.train):,} patches of {source.patches.folder.name}",
        "held_out": ", ".join(f"{count:,} patches ({name})" for name, count in counts.items()) or "none",
        "recipe": dataclasses.asdict(config),
        "command": command,
        "torch": torch.__version__,
    }
