"""ViT-S/16 at 224 pixels with timm's parameter names (``vit_small_patch16_224``), so that official files load.

Owns multi-head attention and the pre-norm transformer of timm. CLIP's transformer, whose names and activation differ,
stands in ``model.vision.clip``.

Source:
    Dosovitskiy et al. 2021, An Image is Worth 16x16 Words (ICLR), §3.1, equations 1–4; the small width from Touvron et
    al. 2021, Training data-efficient image transformers (ICML), Table 1.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.vision.shapes import check_images

IMAGE_PX = 224
"""Side of the images that the position embedding was made for."""
PATCH_PX = 16
"""Side of the square of pixels behind a token."""
WIDTH = 384
"""Channels of a token."""
DEPTH = 12
"""Number of blocks."""
HEADS = 6
"""Parts that attention cuts a token into."""
EPS = 1e-6
"""timm's layer norms add this to the variance, not torch's 1e-5."""


def attend(query: Tensor, key: Tensor, value: Tensor, *, heads: int) -> Tensor:
    """Scaled dot-product attention in ``heads`` parts of the width.

    Args:
        query: (N, Q, W).
        key: (N, K, W).
        value: (N, K, W).
        heads: number of parts; divides W.

    Returns:
        (N, Q, W), before any output projection.

    Source:
        Vaswani et al. 2017, Attention Is All You Need (NeurIPS), §3.2.
    """
    # (N, T, W) -> (N, heads, T, W / heads) and back
    q, k, v = (x.view(*x.shape[:2], heads, -1).transpose(1, 2) for x in (query, key, value))
    return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


class _Attention(nn.Module):
    """Self-attention with one matrix for queries, keys and values."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).chunk(3, dim=2)
        return cast(Tensor, self.proj(attend(query, key, value, heads=HEADS)))


class _Block(nn.Module):
    """Attention and a two-layer network, each after a layer norm and beside a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH, eps=EPS)
        self.attn = _Attention()
        self.norm2 = nn.LayerNorm(WIDTH, eps=EPS)
        self.mlp = nn.Sequential(
            OrderedDict(fc1=nn.Linear(WIDTH, 4 * WIDTH), act=nn.GELU(), fc2=nn.Linear(4 * WIDTH, WIDTH))
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return cast(Tensor, x + self.mlp(self.norm2(x)))


class VisionTransformer(nn.Module):
    """Patches of 16 pixels and a class token through twelve blocks; the class token through a linear layer ``head``."""

    def __init__(self, *, in_channels: int, embed_dim: int) -> None:
        """Build the network with timm's initialisation (a draw of torch's global generator).

        Args:
            in_channels: bands of the images.
            embed_dim: length of the embedding.
        """
        super().__init__()
        self.in_channels = in_channels
        self.patch_embed = nn.Sequential(OrderedDict(proj=nn.Conv2d(in_channels, WIDTH, PATCH_PX, stride=PATCH_PX)))
        self.cls_token = nn.Parameter(torch.empty(1, 1, WIDTH))
        self.pos_embed = nn.Parameter(torch.empty(1, (IMAGE_PX // PATCH_PX) ** 2 + 1, WIDTH))
        self.blocks = nn.Sequential(*(_Block() for _ in range(DEPTH)))
        self.norm = nn.LayerNorm(WIDTH, eps=EPS)
        self.head = nn.Linear(WIDTH, embed_dim)
        nn.init.normal_(self.cls_token, std=1e-6)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Encode images of 224 × 224 pixels.

        Args:
            images: (N, in_channels, 224, 224), scaled as the checkpoint's card says, in the dtype of the weights.

        Returns:
            (N, embed_dim) raw vectors.

        Raises:
            PatchError: the batch has another number of bands, or the images another size.
        """
        check_images(images, self.in_channels, side_px=IMAGE_PX)
        patches = self.patch_embed(images).flatten(2).transpose(1, 2)  # (N, 196, 384)
        x = torch.cat([self.cls_token.expand(len(images), -1, -1), patches], dim=1) + self.pos_embed
        x = self.blocks(x)
        return cast(Tensor, self.head(self.norm(x[:, 0])))
