"""CSP's location encoder, and the reader of its authors' checkpoints.

Owns the architecture: grid cells of Space2Vec into one hidden layer with a normalisation and a linear layer to 256,
both followed by the activation. Coordinates go into the sines as **degrees**: that is what the authors' code does for
its grid encoder (``convert_loc_to_tensor_no_normalize``; radii of 0.1 and 360 are degrees). Its lon/180, lat/90 belongs
to another encoder of theirs; ``scaled=True`` gives it. Training is ``model.baselines.csp_train``.

Source:
    Mai et al. 2023, CSP: Self-Supervised Contrastive Spatial Pre-Training for Geospatial-Visual Representations (ICML),
    §3.1 and appendix. Order, activations and names were checked against ``main/SpatialRelationEncoder.py``,
    ``main/module.py`` and ``main/models.py`` of the public repository gengchenmai/csp.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from data.errors import CheckpointError
from model.baselines.base import PointBaseline
from model.baselines.store import fill, read_baseline
from model.grids import GridAndSphere, frequencies
from model.official import unpickle_weights

KIND = "csp"
ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "leakyrelu": nn.LeakyReLU,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
}
LEAK = 0.2
PREFIX = "loc_enc.spa_enc.ffn."
"""Before the names of the location encoder's weights in a published file."""


@dataclass(frozen=True)
class CSPConfig:
    """What shapes a location encoder of CSP; the names are those of a file's ``params``, but for the last.

    Attributes:
        frequency_num: number of scales.
        min_radius: smallest scale, in degrees.
        max_radius: largest scale.
        num_hidden_layer: hidden layers.
        hidden_dim: their width.
        num_filts: D, length of the embedding.
        spa_f_act: one of :data:`ACTIVATIONS`.
        dropout: after every activation while training.
        use_layn: layer normalisation after a hidden layer.
        skip_connection: a hidden layer as wide as what comes in adds it.
        scaled: coordinates are divided by 180 and 90 first.
    """

    frequency_num: int = 32
    min_radius: float = 0.1
    max_radius: float = 360.0
    num_hidden_layer: int = 1
    hidden_dim: int = 512
    num_filts: int = 256
    spa_f_act: str = "leakyrelu"
    dropout: float = 0.5
    use_layn: bool = True
    skip_connection: bool = True
    scaled: bool = False


class _Layer(nn.Module):
    """Linear, activation, dropout, then perhaps what came in is added, then perhaps normalisation."""

    def __init__(self, inputs: int, outputs: int, config: CSPConfig, *, hidden: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        nn.init.xavier_uniform_(self.linear.weight)
        kind = ACTIVATIONS[config.spa_f_act]
        self.act = nn.LeakyReLU(LEAK) if kind is nn.LeakyReLU else kind()
        self.dropout = nn.Dropout(config.dropout)
        self.layernorm = nn.LayerNorm(outputs) if hidden and config.use_layn else None
        self.skip = hidden and config.skip_connection and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.dropout(self.act(self.linear(x)))
        y = y + x if self.skip else y
        return y if self.layernorm is None else self.layernorm(y)


class CSPNetwork(nn.Module):
    """Places to vectors. Parameters: ``layers.{i}.linear.*`` and ``layers.{i}.layernorm.*``, as in a published file."""

    def __init__(self, config: CSPConfig) -> None:
        """Build the layers with Xavier's initialisation (a draw of torch's global generator)."""
        super().__init__()
        self.config = config
        series = frequencies(config.min_radius, config.max_radius, config.frequency_num)
        self._grid = GridAndSphere("grid", series)
        widths = [self._grid.dim, *[config.hidden_dim] * config.num_hidden_layer, config.num_filts]
        last = len(widths) - 2
        self.layers = nn.Sequential(
            *(_Layer(widths[i], widths[i + 1], config, hidden=i < last) for i in range(len(widths) - 1))
        )

    def forward(self, lonlat: Tensor) -> Tensor:
        """Map (N, 2) degrees, longitude first, to (N, num_filts)."""
        points = lonlat.double()
        if self.config.scaled:
            points = points / points.new_tensor([180.0, 90.0])
        features = self._grid(points).to(next(self.parameters()).dtype)  # (N, 4F)
        out: Tensor = self.layers(features)
        return out


class CSPBaseline(PointBaseline):
    """CSP's location encoder with weights. Its vectors are not of unit length."""

    def __init__(self, name: str, network: CSPNetwork, *, card: Mapping[str, Any]) -> None:
        """Take a network with its weights."""
        super().__init__(name, network.config.num_filts, card=card)
        self._network = network.eval().requires_grad_(False)

    def _locate(self, points: Tensor) -> Tensor:
        out: Tensor = self._network(points)
        return out


def load_csp(name: str, path: Path) -> CSPBaseline:
    """Read a checkpoint: one that was trained here (``.safetensors``), or one of the authors (``.pth.tar``).

    Raises:
        CheckpointError: the file is missing, damaged, or of another architecture.
    """
    if path.suffix == ".safetensors":
        card, tensors = read_baseline(path, kind=KIND)
        network = CSPNetwork(_config(card["config"], path))
        fill(network, tensors, where=path)
        return CSPBaseline(name, network, card=card)
    config, tensors = read_published(path)
    network = CSPNetwork(config)
    fill(network, tensors, where=path)
    card = {
        "description": "location encoder of CSP as its authors trained it",
        "source": "Mai et al. 2023, CSP (ICML)",
        "weights": path.name,
        "license": "the authors name none",
        "config": dataclasses.asdict(config),
    }
    return CSPBaseline(name, network, card=card)


def read_published(path: Path) -> tuple[CSPConfig, dict[str, Tensor]]:
    """Read a file of the authors: a dictionary with ``params`` and ``state_dict``.

    Returns:
        The configuration, and the weights under the names of :class:`CSPNetwork`.

    Raises:
        CheckpointError: the file is missing, damaged, wants to run code, or holds another encoder.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file. Give a .pth.tar file of CSP's authors.")
    # Settings that came out of NumPy are stored as its scalars: a type and eight bytes, no code.
    scalar = np._core.multiarray.scalar  # type: ignore[attr-defined]
    numbers: list[Any] = [type(np.dtype(kind)) for kind in ("i4", "i8", "f4", "f8", "bool")]
    # NumPy 1 wrote the first of the two names.
    with torch.serialization.safe_globals([(scalar, "numpy.core.multiarray.scalar"), scalar, np.dtype, *numbers]):
        content = unpickle_weights(path)
    if not isinstance(content, dict) or not all(isinstance(content.get(k), Mapping) for k in ("params", "state_dict")):
        seen = ", ".join(map(str, list(content)[:6])) if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(f"{path}: not a checkpoint of CSP: it holds {seen}; expected params and state_dict.")
    params = content["params"]
    for key, wanted in (("spa_enc_type", "gridcell"), ("freq_init", "geometric")):
        if params.get(key, wanted) != wanted:
            raise CheckpointError(f"{path}: its {key} is {params[key]!r}; the published CSP encoders are {wanted!r}.")
    state = content["state_dict"]
    tensors = {
        key.removeprefix(PREFIX): value
        for key, value in state.items()
        if str(key).startswith(PREFIX) and isinstance(value, Tensor)
    }
    if not tensors:
        seen = ", ".join(map(str, list(state)[:4])) or "nothing"
        raise CheckpointError(
            f"{path}: there is no {PREFIX}* in its state_dict, only {seen} …; it has no grid encoder."
        )
    return _config(params, path), tensors


def _config(params: Mapping[str, Any], path: Path) -> CSPConfig:
    """The settings that shape the encoder, out of all that a file names.

    Raises:
        CheckpointError: a setting is of another type, or nothing can be built of it.
    """
    defaults = dataclasses.asdict(CSPConfig())
    try:
        given = {key: type(default)(params[key]) for key, default in defaults.items() if key in params}
        config = CSPConfig(**given)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: its settings cannot be read ({error}).") from error
    sizes = (config.frequency_num - 1, config.hidden_dim, config.num_filts, config.num_hidden_layer + 1)
    if min(sizes) < 1 or not 0 < config.min_radius <= config.max_radius or config.spa_f_act not in ACTIVATIONS:
        raise CheckpointError(f"{path}: no encoder can be built of its settings {dataclasses.asdict(config)}.")
    return config
