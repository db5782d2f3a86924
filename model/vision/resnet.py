"""ResNet-18 and ResNet-50 with timm's parameter names, so that official files load without timm.

Owns the residual blocks, which CLIP's modified ResNet (``model.vision.clip``) shares, and the plain networks built of
them. It knows no bands and no normalisation.

Source:
    He et al. 2016, Deep Residual Learning for Image Recognition (CVPR), §3.3, Table 1 and Figure 5. As in timm and
    torchvision, a bottleneck halves the resolution in its 3×3 convolution ("v1.5"), not in its first 1×1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from model.vision.shapes import check_images


class BasicBlock(nn.Module):
    """Two 3×3 convolutions around a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        """Build (N, inputs, H, W) to (N, width, H/stride, W/stride); at first the block passes its shortcut only."""
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride)
        nn.init.zeros_(self.bn2.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, width, H/stride, W/stride)."""
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions around a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, *, antialias: bool = False) -> None:
        """Build (N, inputs, H, W) to (N, 4·width, H/stride, W/stride); at first the block passes its shortcut only.

        Args:
            inputs: channels that come in.
            width: channels of the 3×3 convolution.
            stride: factor by which the resolution falls.
            antialias: average over stride × stride pixels instead of skipping them, on both paths, as CLIP does.
        """
        super().__init__()
        outputs = width * self.expansion
        self.pool = nn.AvgPool2d(stride) if antialias and stride > 1 else nn.Identity()
        skip = 1 if antialias else stride
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=skip, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, skip)
        nn.init.zeros_(self.bn3.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, 4·width, H/stride, W/stride)."""
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(self.pool(y)))
        return functional.relu(y + (x if self.downsample is None else self.downsample(self.pool(x))))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """The projection beside a block that changes the shape; None where the input can be added as it is."""
    if inputs == outputs:  # in every stage that halves the resolution the channels double
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))


def stages(
    block: Callable[[int, int, int], nn.Module], width: int, depths: Sequence[int], *, expansion: int
) -> list[nn.Sequential]:
    """The four stages ``layer1`` to ``layer4``.

    Args:
        block: makes a block from (inputs, width, stride).
        width: channels that leave the stem, and width of the first stage; each later stage doubles it.
        depths: number of blocks in each stage.
        expansion: output channels of a block over its width.

    Returns:
        One module for each depth; all but the first halve the resolution.
    """
    result = []
    inputs = width
    for index, depth in enumerate(depths):
        stage_width = width * 2**index
        blocks = [block(inputs, stage_width, 1 if index == 0 else 2)]
        inputs = stage_width * expansion
        blocks += [block(inputs, stage_width, 1) for _ in range(depth - 1)]
        result.append(nn.Sequential(*blocks))
    return result


class ResNet(nn.Module):
    """A 7×7 stem, four stages, the mean over all pixels and a linear layer ``fc``."""

    def __init__(
        self, block: type[BasicBlock] | type[Bottleneck], depths: Sequence[int], *, in_channels: int, embed_dim: int
    ) -> None:
        """Build the network with He's initialisation (a draw of torch's global generator).

        Args:
            block: :class:`BasicBlock` (ResNet-18) or :class:`Bottleneck` (ResNet-50).
            depths: number of blocks in each of the four stages.
            in_channels: bands of the images.
            embed_dim: length of the embedding.
        """
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages(block, 64, depths, expansion=block.expansion)
        self.fc = nn.Linear(512 * block.expansion, embed_dim)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Encode images of any size.

        Args:
            images: (N, in_channels, H, W), scaled as the checkpoint's card says, in the dtype of the weights.

        Returns:
            (N, embed_dim) raw vectors.

        Raises:
            PatchError: the batch has another number of bands or axes.
        """
        check_images(images, self.conv1.in_channels)
        x = functional.relu(self.bn1(self.conv1(images)))
        x = functional.max_pool2d(x, 3, stride=2, padding=1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return cast(Tensor, self.fc(x.mean((2, 3))))
