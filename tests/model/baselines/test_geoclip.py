"""GeoCLIP against the paper's formula in NumPy, float64; with its real weights where the package is installed."""

import importlib.metadata
import math
import zipfile

import numpy as np
import pytest
import torch

from data.errors import CheckpointError, MissingDependencyError
from model.baselines import load_baseline
from model.baselines.geoclip import WEIGHTS_FILE

POINTS = np.array([(12.49, 41.89), (-180, 0), (179.99, -60), (0, 90), (10, -90), (-70, -33), (0, 0)], dtype=float)


def published_formula(tensors, lon, lat):
    """Equal Earth (Šavrič et al. 2018) scaled as GeoCLIP does; Fourier features; four linear layers; sum of scales."""
    a1, a2, a3, a4 = 1.340264, -0.081106, 0.000893, 0.003796
    t = math.asin(math.sqrt(3) / 2 * math.sin(math.radians(lat)))
    x = 2 * math.sqrt(3) * math.radians(lon) * math.cos(t)
    x /= 3 * (9 * a4 * t**8 + 7 * a3 * t**6 + 3 * a2 * t**2 + a1)
    y = a4 * t**9 + a3 * t**7 + a2 * t**3 + a1 * t
    point = np.array([x, y]) * 66.50336 / 180
    total = np.zeros(512)
    for scale in range(3):
        w = {k.split(".", 1)[1]: v.double().numpy() for k, v in tensors.items() if k.startswith(f"LocEnc{scale}.")}
        angle = 2 * np.pi * w["capsule.0.b"] @ point
        h = np.concatenate([np.cos(angle), np.sin(angle)])
        for layer in (1, 3, 5):
            h = np.maximum(w[f"capsule.{layer}.weight"] @ h + w[f"capsule.{layer}.bias"], 0)
        total += w["head.0.weight"] @ h + w["head.0.bias"]
    return total


@pytest.fixture(scope="module")
def synthetic():
    """A file of the published layout with random weights."""
    generator, tensors = torch.Generator().manual_seed(5), {}
    for scale, sigma in enumerate((2**0, 2**4, 2**8)):
        tensors[f"LocEnc{scale}.capsule.0.b"] = torch.randn(256, 2, generator=generator) * sigma
        for key, out, into in (("capsule.1", 1024, 512), ("capsule.3", 1024, 1024), ("capsule.5", 1024, 1024)):
            tensors[f"LocEnc{scale}.{key}.weight"] = torch.randn(out, into, generator=generator) / math.sqrt(into)
            tensors[f"LocEnc{scale}.{key}.bias"] = torch.randn(out, generator=generator) * 0.1
        tensors[f"LocEnc{scale}.head.0.weight"] = torch.randn(512, 1024, generator=generator) / 32
        tensors[f"LocEnc{scale}.head.0.bias"] = torch.randn(512, generator=generator)
    return tensors


def assert_agrees(encoder, tensors, atol):
    rows = encoder.encode_location(POINTS)
    assert rows.shape == (len(POINTS), 512)
    np.testing.assert_allclose(rows, [published_formula(tensors, *point) for point in POINTS], rtol=0, atol=atol)


def test_formula(synthetic, tmp_path):
    path = tmp_path / WEIGHTS_FILE
    torch.save(synthetic, path)
    # The finest scale multiplies by 2π·2⁸·4, so float32's rounding of the angle shows at 1e-4.
    assert_agrees(load_baseline("geoclip", weights=path), synthetic, atol=2e-3)
    wheel = tmp_path / "geoclip-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(path, f"geoclip/model/weights/{WEIGHTS_FILE}")
    assert_agrees(load_baseline("geoclip", weights=wheel), synthetic, atol=2e-3)


def test_real_weights():
    try:
        files = importlib.metadata.files("geoclip") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the package geoclip is not installed (pip install --no-deps geoclip)")
    path = next(file.locate() for file in files if file.name == WEIGHTS_FILE)
    encoder = load_baseline("geoclip")
    assert_agrees(encoder, torch.load(path, weights_only=True), atol=1e-4)


def test_wrong_files(synthetic, tmp_path, monkeypatch):
    path = tmp_path / "x.pth"
    path.write_bytes(b"no weights at all")
    with pytest.raises(CheckpointError, match="not the weights of GeoCLIP"):
        load_baseline("geoclip", weights=path)
    torch.save({k: v for k, v in synthetic.items() if "LocEnc2" not in k}, path)
    with pytest.raises(CheckpointError, match="not the weights of GeoCLIP"):
        load_baseline("geoclip", weights=path)
    wheel = tmp_path / "other-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("other/__init__.py", "")
    with pytest.raises(CheckpointError, match="holds no location_encoder_weights"):
        load_baseline("geoclip", weights=wheel)
    with pytest.raises(CheckpointError, match="no such file"):
        load_baseline("geoclip", weights=tmp_path / "missing.pth")

    def nothing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", nothing)
    with pytest.raises(MissingDependencyError, match="--no-deps geoclip"):
        load_baseline("geoclip")
