"""MOSAIKS: features against loops in NumPy, the whitening by what it does, imagery, and published tables."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch

from data.errors import CheckpointError
from model.baselines import load_baseline
from model.baselines.mosaiks import MosaiksConfig, draw_filters, featurize, make_mosaiks

RNG = np.random.default_rng(10)


def test_features_written_out():
    images, filters, bias = RNG.uniform(size=(2, 3, 6, 5)), RNG.normal(size=(4, 3, 3, 3)), 0.3
    expected = np.zeros((2, 8))
    for n in range(2):
        for k in range(4):
            answers = [(filters[k] * images[n, :, y : y + 3, x : x + 3]).sum() for y in range(4) for x in range(3)]
            expected[n, k] = np.mean([max(0, answer - bias) for answer in answers])
            expected[n, 4 + k] = np.mean([max(0, -answer - bias) for answer in answers])
    found = featurize(torch.from_numpy(images), torch.from_numpy(filters), bias=bias)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


def test_filters_are_whitened_patches():
    """One image of 3×3 leaves one patch to draw: less its mean, of unit norm, through the inverse of C + bias·1."""
    image = RNG.integers(0, 256, (1, 3, 3, 3), dtype=np.uint8)
    filters = draw_filters(MosaiksConfig(filters=5, zca_bias=0.01), image)
    patch = image.reshape(-1) / 255 - (image / 255).mean()
    patch /= np.linalg.norm(patch)
    expected = np.linalg.solve(np.outer(patch, patch) + 0.01 * np.eye(27), patch)
    np.testing.assert_allclose(filters.reshape(5, -1), np.tile(expected, (5, 1)), rtol=1e-4, atol=1e-4)
    # In general filters are P·(C + bias·1)⁻¹, so with whitened patches' own covariance they answer evenly.
    images = RNG.integers(0, 256, (50, 3, 12, 12), dtype=np.uint8)
    one, two = (draw_filters(MosaiksConfig(filters=30, seed=seed), images) for seed in (1, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, draw_filters(MosaiksConfig(filters=30, seed=2), images))
    flat = np.full((50, 3, 12, 12), 7, dtype=np.uint8)
    assert len(draw_filters(MosaiksConfig(filters=3), flat)) == 0, "one colour makes no filter"


def test_any_imagery(monkeypatch):
    """Features of a place are those of the image cut there, whatever else is asked."""

    def imagery(points):
        shade = (points[:, 0, None, None, None] + 180) / 360
        wave = np.sin(np.arange(8) * (1 + points[:, 1, None, None, None] / 90))
        return np.broadcast_to(0.5 * shade + 0.25 * (1 + wave), (len(points), 3, 8, 8))

    encoder = make_mosaiks(MosaiksConfig(filters=6, images=200), imagery=imagery, source="waves")
    points = RNG.uniform((-180, -90), (180, 90), (100, 2))
    rows = encoder.encode_location(points)
    assert rows.shape == (100, 12) and encoder.name == "mosaiks" and "waves" in encoder.card["description"]
    np.testing.assert_allclose(rows[70:71], encoder.encode_location(points[70:71]), atol=1e-6)
    direct = featurize(torch.from_numpy(imagery(points[70:71]).astype(np.float32)), encoder.filters, bias=1.0)
    np.testing.assert_allclose(rows[70:71], direct, atol=1e-6)


def test_the_blue_marble_at_the_edges():
    encoder = make_mosaiks(MosaiksConfig(filters=16, images=100))
    rows = encoder.encode_location([(180, 10), (-180, 10), (0, 90), (77, -90), (20, 25), (25, -2)])
    assert np.isfinite(rows).all()
    np.testing.assert_array_equal(rows[0], rows[1])
    assert np.abs(rows[4] - rows[5]).max() > 0.01, "desert and rainforest differ"


@pytest.fixture
def table():
    lon, lat = np.meshgrid(np.arange(10) * 0.01 + 5.005, np.arange(10) * 0.01 + 45.005)
    columns = {"lat": lat.ravel(), "lon": lon.ravel()}
    # X_10 after X_2: by number, not by letter.
    return columns | {f"X_{k}": RNG.normal(size=100) for k in (10, 0, 2, 1)}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_published_tables(tmp_path, table, suffix):
    path = tmp_path / f"features{suffix}"
    if suffix == ".csv":
        pa.csv.write_csv(pa.table(table), path)
    else:
        pa.parquet.write_table(pa.table(table), path)
    encoder = load_baseline("mosaiks", weights=path)
    points = np.array([(5.0349, 45.0012), (5.0, 45.092), (6, 46), (5.005, 45.115)])
    rows = encoder.encode_location(points)
    assert encoder.dim == 4 and encoder.covers(points).tolist() == [True, True, False, False]
    expected = np.zeros((4, 4))
    for i, (x, y) in enumerate(points[:2]):
        nearest = np.argmin(np.hypot((table["lon"] - x) * np.cos(np.radians(45)), table["lat"] - y))
        expected[i] = [table[f"X_{k}"][nearest] for k in (0, 1, 2, 10)]
    np.testing.assert_allclose(rows, expected, atol=1e-6)


def test_wrong_tables(tmp_path, table):
    path = tmp_path / "t.csv"

    def refused(columns, match):
        pa.csv.write_csv(pa.table(columns), path)
        with pytest.raises(CheckpointError, match=match):
            load_baseline("mosaiks", weights=path)

    refused({k: v for k, v in table.items() if k != "lat"}, "no lat")
    refused({"lon": [1.0], "lat": [2.0]}, "no X_0")
    refused({k: v[:0] for k, v in table.items()}, "0 rows")
    refused(table | {"X_1": ["text"] * 100}, "column X_1 is string, not numbers")
    refused(table | {"lat": np.where(np.arange(100) == 7, 95, table["lat"])}, "row 7 is .* outside -90…90")
    refused(table | {"X_2": [None if i == 3 else 1.0 for i in range(100)]}, "X_2 has no number in row 3")
    path.with_suffix(".parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(CheckpointError, match="cannot be read as a table"):
        load_baseline("mosaiks", weights=path.with_suffix(".parquet"))
    with pytest.raises(CheckpointError, match="no such file"):
        load_baseline("mosaiks", weights=tmp_path / "none.csv")
