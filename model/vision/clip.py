"""CLIP's two image encoders, for checkpoints whose ``vision_layers`` is a list (modified ResNet) or a number (ViT).

Owns what differs from the plain networks: the stem of three convolutions, anti-aliased downsampling and attention
pooling of the one, the normalised embeddings, the quick GELU and the projection of the other. Parameter names are those
of OpenAI's files. Both take images of one size only, for which their position embedding was made.

Source:
    Radford et al. 2021, Learning Transferable Visual Models From Natural Language Supervision (ICML), §2.4; He et al.
    2019, Bag of Tricks for Image Classification (CVPR), §4 (ResNet-D); Zhang 2019, Making Convolutional Networks
    Shift-Invariant Again (ICML), for the pooling before a stride.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from data.errors import CheckpointError
from model.vision.resnet import Bottleneck, stages
from model.vision.shapes import check_images
from model.vision.vit import attend

HEAD_WIDTH = 64
"""Channels of one attention head in every CLIP model."""


class _AttentionPool(nn.Module):
    """One attention layer whose only query is the mean over all pixels."""

    def __init__(self, side: int, width: int, *, heads: int, embed_dim: int) -> None:
        super().__init__()
        self.heads = heads
        std = width**-0.5
        self.positional_embedding = nn.Parameter(std * torch.randn(side**2 + 1, width))
        self.k_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.c_proj = nn.Linear(width, embed_dim)
        for layer in (self.k_proj, self.q_proj, self.v_proj, self.c_proj):
            nn.init.normal_(layer.weight, std=std)

    def forward(self, x: Tensor) -> Tensor:
        pixels = x.flatten(2).transpose(1, 2)  # (N, side², width)
        tokens = torch.cat([pixels.mean(1, keepdim=True), pixels], dim=1) + self.positional_embedding
        pooled = attend(self.q_proj(tokens[:, :1]), self.k_proj(tokens), self.v_proj(tokens), heads=self.heads)
        return cast(Tensor, self.c_proj(pooled[:, 0]))


class ModifiedResNet(nn.Module):
    """CLIP's ResNet: three stem convolutions, averages before strides, attention instead of the mean over pixels."""

    def __init__(
        self, depths: Sequence[int], *, width: int, image_resolution: int, in_channels: int, embed_dim: int
    ) -> None:
        """Build the network with CLIP's initialisation (a draw of torch's global generator).

        Args:
            depths: number of bottlenecks in each of the four stages.
            width: channels that leave the stem; even.
            image_resolution: side of the images, pixels.
            in_channels: bands of the images.
            embed_dim: length of the embedding.

        Raises:
            CheckpointError: no network has this width or image size.
        """
        super().__init__()
        if width < 2 or width % 2:
            raise CheckpointError(
                f"The stem of CLIP's ResNet halves vision_width, so {width} cannot be: give an even one."
            )
        # The stem rounds an odd side up, the embedding was made for the side rounded down: they agree but at 32n − 1.
        if image_resolution < 32 or image_resolution % 32 == 31:
            raise CheckpointError(
                f"CLIP's ResNet halves the image five times, so image_resolution {image_resolution} cannot be: "
                "give a multiple of 32."
            )
        self.image_resolution = image_resolution
        self.conv1 = nn.Conv2d(in_channels, width // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width // 2)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages(
            partial(Bottleneck, antialias=True), width, depths, expansion=Bottleneck.expansion
        )
        features = 8 * width * Bottleneck.expansion
        heads = features // HEAD_WIDTH
        self.attnpool = _AttentionPool(image_resolution // 32, features, heads=heads, embed_dim=embed_dim)

    def forward(self, images: Tensor) -> Tensor:
        """Encode images of the one size.

        Args:
            images: (N, in_channels, R, R) with R the image resolution, in the dtype of the weights.

        Returns:
            (N, embed_dim) raw vectors.

        Raises:
            PatchError: the batch has another number of bands, or the images another size.
        """
        check_images(images, self.conv1.in_channels, side_px=self.image_resolution)
        x = functional.relu(self.bn1(self.conv1(images)))
        x = functional.relu(self.bn2(self.conv2(x)))
        x = functional.avg_pool2d(functional.relu(self.bn3(self.conv3(x))), 2)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return cast(Tensor, self.attnpool(x))


class _QuickGELU(nn.Module):
    """The sigmoid approximation of the GELU that CLIP was trained with (Hendrycks & Gimpel 2016, §2)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class _Block(nn.Module):
    """Attention and a two-layer network, each after a layer norm and beside a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            OrderedDict(c_fc=nn.Linear(width, 4 * width), gelu=_QuickGELU(), c_proj=nn.Linear(4 * width, width))
        )
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return cast(Tensor, x + self.mlp(self.ln_2(x)))


class ClipVisionTransformer(nn.Module):
    """CLIP's ViT: a layer norm before the transformer, and a projection without bias after it."""

    def __init__(
        self, depth: int, *, width: int, patch_size: int, image_resolution: int, in_channels: int, embed_dim: int
    ) -> None:
        """Build the network with the original SatCLIP's initialisation (a draw of torch's global generator).

        Args:
            depth: number of blocks.
            width: channels of a token; 64 to a head.
            patch_size: side of the square of pixels behind a token, pixels; what is left over at the edge is not seen.
            image_resolution: side of the images, pixels.
            in_channels: bands of the images.
            embed_dim: length of the embedding.

        Raises:
            CheckpointError: no network has this width, or an image holds no patch.
        """
        super().__init__()
        heads = width // HEAD_WIDTH
        if heads < 1 or width % heads:
            raise CheckpointError(
                f"vision_width {width} does not divide into attention heads of {HEAD_WIDTH}: give a multiple of it."
            )
        if not 0 < patch_size <= image_resolution:
            raise CheckpointError(
                f"vision_patch_size {patch_size} does not fit image_resolution {image_resolution}: "
                "give at least one pixel and at most the image."
            )
        self.image_resolution = image_resolution
        scale = width**-0.5
        self.conv1 = nn.Conv2d(in_channels, width, patch_size, stride=patch_size, bias=False)
        self.class_embedding = nn.Parameter(scale * torch.randn(width))
        tokens = (image_resolution // patch_size) ** 2 + 1
        self.positional_embedding = nn.Parameter(scale * torch.randn(tokens, width))
        self.ln_pre = nn.LayerNorm(width)
        blocks = nn.Sequential(*(_Block(width, heads) for _ in range(depth)))
        self.transformer = nn.Sequential(OrderedDict(resblocks=blocks))
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(scale * torch.randn(width, embed_dim))

    def forward(self, images: Tensor) -> Tensor:
        """Encode images of the one size.

        Args:
            images: (N, in_channels, R, R) with R the image resolution, in the dtype of the weights.

        Returns:
            (N, embed_dim) raw vectors.

        Raises:
            PatchError: the batch has another number of bands, or the images another size.
        """
        check_images(images, self.conv1.in_channels, side_px=self.image_resolution)
        patches = self.conv1(images).flatten(2).transpose(1, 2)  # (N, grid², width)
        tokens = torch.cat([self.class_embedding.expand(len(images), 1, -1), patches], dim=1)
        x = self.transformer(self.ln_pre(tokens + self.positional_embedding))
        return cast(Tensor, self.ln_post(x[:, 0]) @ self.proj)
