"""GPS2Vec: one small network for each UTM zone, from nearness to the zone's grid cells to class probabilities.

Owns the encoder, and the two places that its weights come from: a folder of the authors' Keras files, one for each
zone, and one file that was trained here (``model.baselines.gps2vec_train``). The "tag" model gives 2,000 probabilities
of tags; the "visual" one those of 1,000 objects, then those of 365 scenes. A zone without a network (the open sea, and
31V in the published files) gives zeros.

Source:
    Yin et al. 2019, GPS2Vec (SIGSPATIAL), §3; Yin et al. 2021, Learning Multi-context Aware Location Representations
    from Large-scale Geotagged Images (ACM Multimedia), §3. Layers, activations and names were checked against
    ``model_tag.json`` and ``model_visual.json`` of yifangyin/GPS2Vec.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional

from data.errors import CheckpointError, MissingDependencyError
from data.geo import Floats
from model.baselines.base import Baseline
from model.baselines.store import read_baseline
from model.baselines.utm import kernels, zone_names, zone_of
from model.encoder import Vectors, check_points

KIND = "gps2vec"
HEADS: Mapping[str, Mapping[str, int]] = {
    "gps2vec-tag": {"tag": 2000},
    "gps2vec-visual": {"object": 1000, "scene": 365},
}
"""Output layers of the published models, and their lengths, in the order in which they are joined."""
HIDDEN = ("layer1", "layer2", "layer3")
WIDTHS = (512, 1024, 2048)
CELLS = 20
HELD = 4
"""Networks of the published size (28 MB each) that stay in memory."""
PART = 1024

Layer = tuple[Tensor, Tensor]
"""Weights (out, in) and biases (out,)."""


def forward(features: Tensor, hidden: Sequence[Layer], heads: Sequence[Layer]) -> Tensor:
    """Hidden layers with ReLU, then a softmax for each head; heads side by side: (N, 400) to (N, D)."""
    for weight, bias in hidden:
        features = torch.relu(functional.linear(features, weight, bias))
    return torch.cat([torch.softmax(functional.linear(features, w, b), dim=1) for w, b in heads], dim=1)


class GPS2VecBaseline(Baseline):
    """A network for each zone, read when a place of that zone is asked for."""

    def __init__(
        self,
        name: str,
        dim: int,
        *,
        zones: Sequence[str],
        network: Callable[[str], tuple[list[Layer], list[Layer]]],
        card: Mapping[str, Any],
    ) -> None:
        """Take which zones there are, and what gives a zone's hidden layers and heads."""
        super().__init__(name, dim, card=card)
        self.zones = tuple(zones)
        self._network = functools.lru_cache(maxsize=HELD)(network)

    def covers(self, lonlat: ArrayLike | Tensor) -> NDArray[np.bool_]:
        """Which of (N, 2) places lie in a zone that has a network: (N,)."""
        return np.isin(zone_of(check_points(lonlat)), self.zones)

    @torch.inference_mode()
    def encode_location(self, lonlat: ArrayLike | Tensor) -> Vectors:
        """As :meth:`Baseline.encode_location`; zone by zone."""
        points: Floats = check_points(lonlat)
        out = np.zeros((len(points), self.dim), dtype=np.float32)
        zone = zone_of(points)
        for name in np.unique(zone).tolist():
            if name not in self.zones:
                continue
            rows = np.flatnonzero(zone == name)
            for part in np.split(rows, range(PART, len(rows), PART)):
                features = torch.from_numpy(kernels(points[part], name, cells=CELLS))
                out[part] = forward(features, *self._network(name)).numpy()
        return out


def load_gps2vec(name: str, path: Path) -> GPS2VecBaseline:
    """Read a model: a folder of the authors' ``model_ZONE.h5``, or a ``.safetensors`` file that was trained here.

    Raises:
        CheckpointError: it is missing, damaged, or of another architecture.
        MissingDependencyError: h5py, which reads the authors' files, is not installed.
    """
    if path.suffix == ".safetensors":
        card, tensors = read_baseline(path, kind=KIND)
        return _trained(name, path, card, tensors)
    if not path.is_dir():
        raise CheckpointError(f"{path}: there is no such folder. Give the folder of GPS2Vec's model_31 N.h5 and so on.")
    files = {zone: path / f"model_{zone}.h5" for zone in zone_names()}
    files = {zone: file for zone, file in files.items() if file.is_file()}
    if not files:
        raise CheckpointError(f'{path}: there is no network of any UTM zone in it, such as "model_31 N.h5".')
    heads = HEADS[name]
    card = {
        "description": f"{name} as its authors trained it, {len(files):,} zones",
        "source": "Yin et al. 2019 (SIGSPATIAL) and 2021 (ACM Multimedia), GPS2Vec",
        "weights": str(path.name),
        "license": "the authors name none",
    }

    def network(zone: str) -> tuple[list[Layer], list[Layer]]:
        return read_keras(files[zone], heads)

    network(next(iter(files)))  # a folder of the other model, or without h5py, is told at once
    return GPS2VecBaseline(name, sum(heads.values()), zones=list(files), network=network, card=card)


def read_keras(path: Path, heads: Mapping[str, int]) -> tuple[list[Layer], list[Layer]]:
    """Hidden layers and heads of one file that Keras 2 wrote: its weights alone, or a whole model.

    Raises:
        CheckpointError: the file is damaged, or of another architecture.
        MissingDependencyError: h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingDependencyError(
            "The networks of GPS2Vec's authors are HDF5 files, which need h5py. Run: pip install 'samewhere[baselines]'"
        ) from error
    inputs = (CELLS * CELLS, *WIDTHS)
    shapes = {layer: (inputs[i], WIDTHS[i]) for i, layer in enumerate(HIDDEN)}
    shapes |= {head: (WIDTHS[-1], length) for head, length in heads.items()}
    try:
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)
            missing = [layer for layer in shapes if layer not in root]
            if missing:
                raise CheckpointError(
                    f"{path}: there is no layer {', '.join(missing)} in it, only {', '.join(list(root)[:8])}; it is "
                    f"no network with {' and '.join(heads)}."
                )
            layers = {layer: _keras_layer(root[layer], layer) for layer in shapes}
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: damaged Keras file ({error}). Download or copy it again.") from error
    for layer, (kernel, bias) in layers.items():
        if kernel.shape != shapes[layer] or bias.shape != shapes[layer][1:]:
            raise CheckpointError(f"{path}: {layer} is {kernel.shape}; GPS2Vec's is {shapes[layer]}.")
    ready = {
        name: (torch.from_numpy(kernel.T.copy()), torch.from_numpy(bias)) for name, (kernel, bias) in layers.items()
    }
    return [ready[layer] for layer in HIDDEN], [ready[head] for head in heads]


def _keras_layer(group: Any, layer: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Kernel (in, out) and bias of a layer; the group's own list of names says where they lie."""
    named = [n.decode() if isinstance(n, bytes) else str(n) for n in group.attrs.get("weight_names", ())]
    paths = {n.rsplit("/", 1)[-1]: n for n in named or (f"{layer}/kernel:0", f"{layer}/bias:0")}
    kernel, bias = (np.asarray(group[paths[key]], dtype=np.float32) for key in ("kernel:0", "bias:0"))
    return kernel, bias


def _trained(name: str, path: Path, card: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> GPS2VecBaseline:
    """A model that was trained here: for each layer one tensor with all zones."""
    try:
        zones, config = list(card["config"]["zones"]), card["config"]
        hidden = [(tensors[f"hidden.{i}.weight"], tensors[f"hidden.{i}.bias"]) for i in range(len(config["widths"]))]
        heads = [(tensors[f"heads.{i}.weight"], tensors[f"heads.{i}.bias"]) for i in range(len(config["heads"]))]
        dim = sum(bias.shape[1] for _, bias in heads)
        if any(len(tensor) != len(zones) for layer in (*hidden, *heads) for tensor in layer):
            raise ValueError("layers and zones differ in number")
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise CheckpointError(f"{path}: weights of another architecture than its card says ({error}).") from error
    number = {zone: i for i, zone in enumerate(zones)}

    def network(zone: str) -> tuple[list[Layer], list[Layer]]:
        i = number[zone]
        return [(w[i].float(), b[i].float()) for w, b in hidden], [(w[i].float(), b[i].float()) for w, b in heads]

    return GPS2VecBaseline(name, dim, zones=zones, network=network, card=card)
