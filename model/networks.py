"""The networks behind a position encoding: linear, mlp, siren and fcnet, with the parameter names of official files.

Owns the four ``pe_type`` that SatCLIP's configuration names, and the one :class:`Siren` of the project: the branches of
:mod:`model.location` are made of it too. Refuses to know coordinates: what comes in are features, of
:mod:`model.position` or :mod:`model.harmonics`, in the dtype of the weights.

Source:
    Klemmer et al. 2023, SatCLIP, arXiv:2311.17179, §3.2; names, sizes and the order of the operations were checked
    against ``satclip/location_encoder.py`` of the public repository microsoft/satclip.
"""

from __future__ import annotations

import itertools
import math
from typing import cast

import torch
from torch import Tensor, nn

from data.errors import CheckpointError

PE_TYPES = ("linear", "mlp", "siren", "fcnet")
"""What a configuration's ``pe_type`` may be."""


class Siren(nn.Module):
    """A sinusoidal network: sin(w0·(Wx + b)), then sin(Wx + b) layers, then a linear one.

    While training, dropout stands between a layer and its sine, so what it drops becomes sin(0). Parameters:
    ``layers.{i}.weight|bias`` and ``last_layer.weight|bias``.

    Source:
        Sitzmann et al. 2020, Implicit Neural Representations with Periodic Activation Functions, §3.2, with the first
        layer's frequency outside its weights (w0 = 30 there and in SatCLIP) and 1 in the others. Biases are drawn like
        the weights, as SatCLIP does.
    """

    def __init__(
        self, inputs: int, outputs: int, *, hidden: int, layers: int, w0: float = 30.0, dropout: float = 0.0
    ) -> None:
        """Build the layers with Sitzmann's initialisation (a draw of torch's global generator).

        Args:
            inputs: number of features that come in.
            outputs: length of what goes out.
            hidden: width of the sinusoidal layers.
            layers: number of sinusoidal layers, at least 1.
            w0: frequency of the first layer; the larger, the finer the detail that is learned first.
            dropout: probability before each sine while training.
        """
        super().__init__()
        self.w0 = w0
        widths = [inputs] + [hidden] * layers
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self.last_layer = nn.Linear(hidden, outputs)
        self.dropout = nn.Dropout(dropout)
        for index, layer in enumerate([*self.layers, self.last_layer]):
            fan_in = layer.in_features
            bound = 1 / fan_in if index == 0 else math.sqrt(6 / fan_in)
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.uniform_(layer.bias, -bound, bound)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, inputs) to (N, outputs), both of the weights' dtype."""
        x = features
        for index, layer in enumerate(self.layers):
            frequency = self.w0 if index == 0 else 1.0
            x = torch.sin(frequency * self.dropout(layer(x)))
        return cast(Tensor, self.last_layer(x))


class MLP(nn.Module):
    """Linear and ReLU, then one hidden linear and ReLU applied ``layers`` times over, then a linear layer.

    The hidden layers are **one**: the original multiplies a list that holds a single module, so every repetition has
    the same weights. They are trained together, and a state dict holds the same tensor under each of its names:
    ``features.0`` in, ``features.2, .4, …`` hidden, ``features.{2 + 2·layers}`` out.

    Source:
        SatCLIP's ``location_encoder.py``; the sharing is a slip that weights may have been trained with.
    """

    def __init__(self, inputs: int, outputs: int, *, hidden: int, layers: int) -> None:
        """Build the layers with torch's own initialisation; the sizes are those of :class:`Siren`."""
        super().__init__()
        shared = [nn.Linear(hidden, hidden), nn.ReLU()] * layers
        self.features = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), *shared, nn.Linear(hidden, outputs))

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, inputs) to (N, outputs), both of the weights' dtype."""
        return cast(Tensor, self.features(features))


class ResidualLayer(nn.Module):
    """x + ReLU(w2·dropout(ReLU(w1·x))), dropout of one half while training."""

    def __init__(self, width: int) -> None:
        """Build both linear layers, ``width`` in and out."""
        super().__init__()
        self.w1 = nn.Linear(width, width)
        self.dropout = nn.Dropout(0.5)
        self.w2 = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, width) to (N, width)."""
        return x + torch.relu(self.w2(self.dropout(torch.relu(self.w1(x)))))


class FCNet(nn.Module):
    """Linear and ReLU, four residual layers, and a linear layer without a bias.

    The number of residual layers is four whatever the configuration's ``num_hidden_layers`` says. Parameters:
    ``feats.0``, ``feats.{2…5}.w1|w2``, ``class_emb.weight``.

    Source:
        Mac Aodha et al. 2019, Presence-Only Geographical Priors for Fine-Grained Image Classification (ICCV); there the
        last layer's rows stand for species. Checked against SatCLIP's ``location_encoder.py``, not against the paper.
    """

    def __init__(self, inputs: int, outputs: int, *, hidden: int) -> None:
        """Build the layers with torch's own initialisation; the sizes are those of :class:`Siren`."""
        super().__init__()
        residual = [ResidualLayer(hidden) for _ in range(4)]
        self.feats = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), *residual)
        self.class_emb = nn.Linear(hidden, outputs, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, inputs) to (N, outputs), both of the weights' dtype."""
        return cast(Tensor, self.class_emb(self.feats(features)))


def build_network(pe_type: str, inputs: int, *, outputs: int = 256, hidden: int = 512, layers: int = 2) -> nn.Module:
    """Build the network of an official configuration, in float32.

    Args:
        pe_type: "linear", "mlp", "siren" or "fcnet".
        inputs: number of features, the position encoding's ``dim``.
        outputs: length of the embedding (``embed_dim``).
        hidden: width of the hidden layers (``capacity``).
        layers: number of hidden layers (``num_hidden_layers``), at least 1 for "siren" and 0 for "mlp"; "linear" and
            "fcnet" have their own number.

    Returns:
        A module whose parameters are named as those below ``nnet.`` in an official file.

    Raises:
        CheckpointError: another ``pe_type``, or sizes of which nothing can be built.
    """
    if pe_type not in PE_TYPES:
        raise CheckpointError(f"The network pe_type={pe_type!r} is unknown; choose one of {', '.join(PE_TYPES)}.")
    fewest = 1 if pe_type == "siren" else 0
    if min(inputs, outputs, hidden) < 1 or layers < fewest:
        raise CheckpointError(
            f"A network pe_type={pe_type!r} needs sizes of at least 1 and at least {fewest} hidden layers; got "
            f"{inputs} features in, {outputs} out (embed_dim), {hidden} wide (capacity), {layers} hidden layers "
            "(num_hidden_layers). Correct the configuration."
        )
    if pe_type == "linear":
        return nn.Linear(inputs, outputs)
    if pe_type == "mlp":
        return MLP(inputs, outputs, hidden=hidden, layers=layers)
    if pe_type == "siren":
        return Siren(inputs, outputs, hidden=hidden, layers=layers, w0=30.0, dropout=0.5)
    return FCNet(inputs, outputs, hidden=hidden)
