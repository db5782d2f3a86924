"""GeoCLIP's location encoder, with the weights that its authors publish on PyPI.

Owns the network, written from the paper, and where its weights file is found. The package ``geoclip`` is never
imported: it needs torchvision. Only its one file of weights is read, from an installed distribution, a wheel, or a
path.

Source:
    Vivanco Cepeda et al. 2023, GeoCLIP: Clip-Inspired Alignment between Locations and Images for Effective Worldwide
    Geo-localization (NeurIPS), §3.1. Constants, units and the names of the tensors were checked against
    ``geoclip/model/location_encoder.py`` of the public repository VicenteVivan/geo-clip.
"""

from __future__ import annotations

import importlib.metadata
import io
import math
import zipfile
from pathlib import Path

import torch
from torch import Tensor, nn

from data.errors import CheckpointError, MissingDependencyError, SamewhereError
from model.baselines.base import PointBaseline

WEIGHTS_FILE = "location_encoder_weights.pth"
LICENCE = "MIT"
DIM = 512
_A = (1.340264, -0.081106, 0.000893, 0.003796)
"""Polynomial of the Equal Earth projection: Šavrič et al. 2018 (Int. J. Geogr. Inf. Sci. 33), eq. 7."""
_SCALE = 66.50336 / 180
"""GeoCLIP's own factor: longitude 180° on the equator comes to 1.00 and a pole to 0.49."""


def equal_earth(lonlat: Tensor) -> Tensor:
    """Project (N, 2) degrees, longitude first, as GeoCLIP does: (N, 2) within about ±1 and ±0.5."""
    lon, lat = torch.deg2rad(lonlat).unbind(1)
    a1, a2, a3, a4 = _A
    theta = torch.asin(math.sqrt(3) / 2 * torch.sin(lat))
    slope = 9 * a4 * theta**8 + 7 * a3 * theta**6 + 3 * a2 * theta**2 + a1
    x = 2 * math.sqrt(3) * lon * torch.cos(theta) / (3 * slope)
    y = a4 * theta**9 + a3 * theta**7 + a2 * theta**3 + a1 * theta
    return torch.stack([x, y], dim=1) * _SCALE


class _Fourier(nn.Module):
    """Random Fourier features: (cos 2πBv, sin 2πBv) with a fixed matrix B, (256, 2), that the weights bring."""

    def __init__(self) -> None:
        super().__init__()
        self.b = nn.Parameter(torch.zeros(256, 2), requires_grad=False)

    def forward(self, projected: Tensor) -> Tensor:
        angle = 2 * math.pi * projected @ self.b.T
        return torch.cat([angle.cos(), angle.sin()], dim=1)


class _Capsule(nn.Module):
    """One scale of detail: Fourier features, three hidden layers, and a linear one."""

    def __init__(self) -> None:
        super().__init__()
        hidden = [layer for width in (512, 1024, 1024) for layer in (nn.Linear(width, 1024), nn.ReLU())]
        self.capsule = nn.Sequential(_Fourier(), *hidden)
        self.head = nn.Sequential(nn.Linear(1024, DIM))

    def forward(self, projected: Tensor) -> Tensor:
        out: Tensor = self.head(self.capsule(projected))
        return out


class GeoCLIPNetwork(nn.Module):
    """Three capsules, summed; parameters are named as in the published file."""

    def __init__(self) -> None:
        """Build the layers; the Fourier matrices are zero until weights are loaded."""
        super().__init__()
        self.LocEnc0, self.LocEnc1, self.LocEnc2 = _Capsule(), _Capsule(), _Capsule()

    def forward(self, lonlat: Tensor) -> Tensor:
        """Map (N, 2) degrees, **longitude first** (GeoCLIP's own takes the latitude first), to (N, 512)."""
        projected = equal_earth(lonlat).to(next(self.parameters()).dtype)
        out: Tensor = self.LocEnc0(projected) + self.LocEnc1(projected) + self.LocEnc2(projected)
        return out


class GeoCLIPBaseline(PointBaseline):
    """GeoCLIP as published. Its vectors are not of unit length."""

    def __init__(self, network: GeoCLIPNetwork, *, weights: str) -> None:
        """Take a network with its weights, and say where they come from."""
        card = {
            "description": "location encoder of GeoCLIP, trained on 4.7 million photos of MediaEval 2016 (MP-16)",
            "source": "Vivanco Cepeda et al. 2023, GeoCLIP (NeurIPS)",
            "weights": weights,
            "license": LICENCE,
        }
        super().__init__("geoclip", DIM, card=card)
        self._network = network.eval().requires_grad_(False)

    def _locate(self, points: Tensor) -> Tensor:
        out: Tensor = self._network(points)
        return out


def load_geoclip(path: Path | None = None) -> GeoCLIPBaseline:
    """Read the published weights.

    Args:
        path: the weights' ``.pth`` file or a ``.whl`` of the package; by default that of the installed ``geoclip``.

    Raises:
        MissingDependencyError: no path is given, and the package is not installed.
        CheckpointError: the file is not the published one.
    """
    where = _installed() if path is None else path
    if not where.is_file():
        raise CheckpointError(f"{where}: there is no such file. Give GeoCLIP's {WEIGHTS_FILE} or a wheel of geoclip.")
    try:
        content = _from_wheel(where) if where.suffix == ".whl" else where.read_bytes()
        tensors = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        network = GeoCLIPNetwork()
        network.load_state_dict(tensors)
    except SamewhereError:
        raise
    except Exception as error:  # damaged bytes can make the reader fail in any way
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{where}: not the weights of GeoCLIP's location encoder ({reason}). Give {WEIGHTS_FILE} as the package "
            "geoclip has it."
        ) from error
    return GeoCLIPBaseline(network, weights=f"{where.name} of the package geoclip")


def _installed() -> Path:
    """The weights file of the installed distribution, without importing it."""
    try:
        files = importlib.metadata.files("geoclip") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == WEIGHTS_FILE:
            return Path(str(file.locate()))
    raise MissingDependencyError(
        "GeoCLIP's weights are not on this machine. Run: pip install --no-deps geoclip (without its dependencies, for "
        f"its torchvision is not needed here), or give the path of {WEIGHTS_FILE} or of a wheel of geoclip."
    )


def _from_wheel(path: Path) -> bytes:
    try:
        with zipfile.ZipFile(path) as wheel:
            names = [name for name in wheel.namelist() if name.endswith("/" + WEIGHTS_FILE)]
            if names:
                return wheel.read(names[0])
    except zipfile.BadZipFile as error:
        raise CheckpointError(f"{path}: damaged wheel ({error}). Download it again.") from error
    raise CheckpointError(f"{path}: this wheel holds no {WEIGHTS_FILE}. Give a wheel of the package geoclip.")
