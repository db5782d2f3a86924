"""Image encoders of the SatCLIP family, built from the configuration that an official checkpoint carries.

Owns the table from ``vision_layers`` to a network, and which of its parameters stay trainable when the trunk is frozen.
timm is not used, because it needs torchvision; the parameter names are timm's all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import nn

from data.errors import CheckpointError
from model.vision.clip import ClipVisionTransformer, ModifiedResNet
from model.vision.resnet import BasicBlock, Bottleneck, ResNet
from model.vision.vit import VisionTransformer

__all__ = ["build_vision", "head_names"]

DEEPEST = 100
"""No stage has more blocks than this; a file that asks for more is damaged, and would only exhaust the memory."""

_NAMED: dict[str, tuple[Callable[..., nn.Module], str]] = {
    "moco_resnet18": (partial(ResNet, BasicBlock, (2, 2, 2, 2)), "fc"),
    "moco_resnet50": (partial(ResNet, Bottleneck, (3, 4, 6, 3)), "fc"),
    "moco_vit16": (VisionTransformer, "head"),
}


def build_vision(
    layers: str | int | Sequence[int],
    *,
    width: int,
    patch_size: int,
    image_resolution: int,
    in_channels: int,
    embed_dim: int,
) -> nn.Module:
    """Build an image encoder with fresh weights; under ``torch.device("meta")`` none are drawn.

    The named networks have a fixed shape: they take no notice of width, patch size and image resolution, as in the
    original. The two ResNets among them take images of any size, ``moco_vit16`` of 224 pixels, CLIP's two of the image
    resolution.

    Args:
        layers: ``vision_layers`` of the checkpoint: moco_resnet18, moco_resnet50, moco_vit16, a number of blocks
            (CLIP's ViT), or four of them (CLIP's modified ResNet).
        width: ``vision_width``, channels.
        patch_size: ``vision_patch_size``, pixels.
        image_resolution: side of the images, pixels.
        in_channels: bands of the images.
        embed_dim: length of the embedding.

    Returns:
        A module from (N, in_channels, H, W) to (N, embed_dim), whose parameters and buffers have the names that stand
        below ``visual.`` in an official file.

    Raises:
        CheckpointError: no such network.
    """
    kind = _kind(layers)
    if isinstance(kind, str):
        return _NAMED[kind][0](in_channels=in_channels, embed_dim=embed_dim)
    sizes = {"image_resolution": image_resolution, "in_channels": in_channels, "embed_dim": embed_dim}
    if isinstance(kind, int):
        return ClipVisionTransformer(kind, width=width, patch_size=patch_size, **sizes)
    return ModifiedResNet(kind, width=width, **sizes)


def head_names(layers: str | int | Sequence[int]) -> tuple[str, ...]:
    """The parameters that stay trainable when the trunk is frozen.

    The original freezes the three named networks only, all but ``fc`` or ``head``; it trains CLIP's two whole, having
    no pretrained weights for them. For those two the answer is the last linear map, for who brings weights to freeze.

    Args:
        layers: as for :func:`build_vision`.

    Returns:
        Full names of parameters, or of the modules whose parameters are meant (``fc`` stands for ``fc.weight`` and
        ``fc.bias``).

    Raises:
        CheckpointError: no such network.
    """
    kind = _kind(layers)
    if isinstance(kind, str):
        return (_NAMED[kind][1],)
    return ("proj",) if isinstance(kind, int) else ("attnpool.c_proj",)


def _kind(layers: object) -> str | int | tuple[int, ...]:
    """``layers`` in the one form that each network has, checked."""
    if isinstance(layers, str) and layers in _NAMED:
        return layers
    depths = tuple(layers) if isinstance(layers, list | tuple) else (layers,)
    if all(type(depth) is int and 1 <= depth <= DEEPEST for depth in depths):
        if isinstance(layers, int):
            return layers
        if len(depths) == 4:
            return depths
    raise CheckpointError(
        f"No image encoder has vision_layers {layers!r}: it is {', '.join(_NAMED)}, a number of blocks from 1 to "
        f"{DEEPEST} (CLIP's ViT), or a list of four such numbers (CLIP's modified ResNet)."
    )
