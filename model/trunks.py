"""Image trunks pre-trained on Sentinel-2, from which a SatCLIP training starts.

Owns the table of torchgeo's MoCo weights and their loading. Refuses files whose content is not the one that their name
promises (its last eight digits are the SHA-256's first), and weights that do not fit.

Source:
    Wang et al. 2023, SSL4EO-S12: A Large-Scale Multi-Modal, Multi-Temporal Dataset for Self-Supervised Learning in
    Earth Observation, arXiv:2211.07044; the files are those of torchgeo's SENTINEL2_ALL_MOCO (13 bands / 10,000).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from data.errors import CheckpointError
from data.home import models_path
from model.hub import sha256_of
from model.vision import head_names

TRUNKS: Mapping[str, tuple[str, str]] = {
    "moco_resnet18": ("torchgeo/resnet18_sentinel2_all_moco", "resnet18_sentinel2_all_moco-59bfdff9.pth"),
    "moco_resnet50": ("torchgeo/resnet50_sentinel2_all_moco", "resnet50_sentinel2_all_moco-df8b932e.pth"),
    "moco_vit16": (
        "torchgeo/vit_small_patch16_224_sentinel2_all_moco",
        "vit_small_patch16_224_sentinel2_all_moco-67c9032d.pth",
    ),
}
"""``vision_layers`` → repository on huggingface.co and the one file in it that is meant."""


def load_trunk(visual: nn.Module, layers: Any) -> None:
    """Fill an image encoder with pre-trained weights, all but its last layer; in place.

    Args:
        visual: as :func:`model.vision.build_vision` makes it, with 13 channels.
        layers: its ``vision_layers``.

    Raises:
        CheckpointError: there are no such weights, they cannot be had, are damaged, or do not fit.
    """
    if not isinstance(layers, str) or layers not in TRUNKS:
        raise CheckpointError(
            f"There are no pre-trained weights for vision_layers {layers!r}, only for {', '.join(TRUNKS)}. "
            "Set trunk to random, and freeze_trunk to false."
        )
    path = find_trunk(layers)
    # The files were written by torchgeo with timm's names already; what is left of MoCo's own head is not wanted.
    heads = tuple(f"{name}." for name in head_names(layers))
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        tensors = {key: value for key, value in state.items() if not key.startswith(heads)}
        result = visual.load_state_dict(tensors, strict=False)
    except Exception as error:  # damaged bytes can make the reader fail in any way
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1].strip()
        raise CheckpointError(f"{path}: no weights of {layers} ({reason}).") from error
    missing = [key for key in result.missing_keys if not key.startswith(heads)]
    if missing or result.unexpected_keys:
        raise CheckpointError(
            f"{path}: missing weights: {', '.join(missing) or 'none'}; "
            f"unknown weights: {', '.join(result.unexpected_keys) or 'none'}."
        )


def find_trunk(layers: str) -> Path:
    """The file of pre-trained weights: put there by hand, in huggingface_hub's cache, or downloaded, and verified.

    Raises:
        CheckpointError: the hub cannot be reached, or the content is not the one that the name promises.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache

    repository, file = TRUNKS[layers]
    by_hand, cached = models_path() / file, try_to_load_from_cache(repository, file)
    if by_hand.is_file():
        path = by_hand
    elif isinstance(cached, str):
        path = Path(cached)
    else:
        try:
            get_hf_file_metadata(hf_hub_url(repository, file))  # fails at once where there is no network
            path = Path(hf_hub_download(repository, file))
        except Exception as error:  # the HTTP library, and with it its errors, changes with huggingface_hub's version
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CheckpointError(
                f"{file} is not on this machine and the hub cannot be reached ({reason}): where there is a network, "
                f"fetch it from huggingface.co/{repository} and put it into {models_path()}; or set trunk to random."
            ) from error
    promised = path.stem.rpartition("-")[2]
    if not (found := sha256_of(path)).startswith(promised):
        raise CheckpointError(
            f"{path} is not what its name promises (SHA-256 {found[:8]}…, promised {promised}…). "
            f"Remove it and fetch it again from huggingface.co/{repository}."
        )
    return path
