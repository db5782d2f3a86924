"""GPS2Vec: zones against the textbook, kernels and networks against NumPy, Keras files by their layout, training."""

import builtins
import math

import numpy as np
import pytest

from data.errors import CheckpointError, MissingDependencyError
from model.baselines import load_baseline
from model.baselines.gps2vec_train import GPS2VecTraining, fit_gps2vec
from model.baselines.store import save_baseline
from model.baselines.utm import extent_of, kernels, project, span_of, zone_names, zone_of

RNG = np.random.default_rng(9)
h5py = pytest.importorskip("h5py", reason="h5py is not installed (pip install 'samewhere[baselines]')")


def snyder_utm(lon, lat, zone):
    """Transverse Mercator of WGS 84 in a zone: Snyder 1987, eqs 8-9 to 8-15 and 3-21; good to millimetres."""
    a, e2, k0 = 6378137.0, 0.00669437999014, 0.9996
    ep2, phi = e2 / (1 - e2), math.radians(lat)
    middle = math.radians(-183 + 6 * int(zone[:-2]))
    n = a / math.sqrt(1 - e2 * math.sin(phi) ** 2)
    t, c = math.tan(phi) ** 2, ep2 * math.cos(phi) ** 2
    big_a = (math.radians(lon) - middle) * math.cos(phi)
    m = a * (
        (1 - e2 / 4 - 3 * e2**2 / 64 - 5 * e2**3 / 256) * phi
        - (3 * e2 / 8 + 3 * e2**2 / 32 + 45 * e2**3 / 1024) * math.sin(2 * phi)
        + (15 * e2**2 / 256 + 45 * e2**3 / 1024) * math.sin(4 * phi)
        - 35 * e2**3 / 3072 * math.sin(6 * phi)
    )
    x = k0 * n * (big_a + (1 - t + c) * big_a**3 / 6 + (5 - 18 * t + t**2 + 72 * c - 58 * ep2) * big_a**5 / 120)
    y = k0 * (
        m
        + n
        * math.tan(phi)
        * (
            big_a**2 / 2
            + (5 - t + 9 * c + 4 * c**2) * big_a**4 / 24
            + (61 - 58 * t + t**2 + 600 * c - 330 * ep2) * big_a**6 / 720
        )
    )
    return 500_000 + x, y + (0 if zone[-1] >= "N" else 10_000_000)


@pytest.mark.parametrize(
    ("lon", "lat", "zone"),
    [
        (103.76, 1.32, "48 N"),
        (-180, 0, "1 N"),
        (179.99, -1e-9, "60 M"),
        (-70, -33, "19 H"),
        (1, 60, "31 V"),  # the North Sea, cut to 3° by Norway
        (3, 60, "32 V"),
        (5, 60, "32 V"),
        (3, 64, "31 W"),
        (8.9, 78, "31 X"),  # Svalbard
        (9, 78, "33 X"),
        (20.9, 78, "33 X"),
        (21, 78, "35 X"),
        (33, 78, "37 X"),
        (42, 78, "38 X"),
        (0, 83.9, "31 X"),
        (0, 90, "31 X"),  # poles belong to the zone next to them
        (-75, -90, "18 C"),
    ],
)
def test_zones(lon, lat, zone):
    assert zone_of(np.array([(lon, lat)], dtype=float)).tolist() == [zone]


def test_every_zone_is_where_its_span_says():
    points = np.stack([RNG.uniform(-180, 180, 20_000), RNG.uniform(-80, 84, 20_000)], axis=1)
    for point, zone in zip(points, zone_of(points).tolist(), strict=True):
        west, east, south, north = span_of(zone)
        assert west <= point[0] < east and south <= point[1] < north
    assert set(zone_of(points).tolist()) <= set(zone_names())
    # 60 by 20 of them, but for three that Svalbard's neighbours cover.
    assert len(set(zone_names())) == 1197


@pytest.mark.parametrize("zone", ["48 N", "19 H", "32 V", "31 V", "31 X", "1 C", "60 M"])
def test_projection_and_kernels(zone):
    west, east, south, north = span_of(zone)
    points = np.stack([RNG.uniform(west, east, 12), RNG.uniform(south, north, 12)], axis=1)
    metres = [snyder_utm(lon, lat, zone) for lon, lat in points]
    np.testing.assert_allclose(project(points, zone), metres, rtol=0, atol=0.05)

    box = extent_of(zone)
    corner = min(snyder_utm(west, lat, zone)[0] for lat in (south, north))
    assert (box.west_m, box.east_m) == pytest.approx((corner, 1e6 - corner), abs=0.1)
    edge = [west + i * (east - west) / 4000 for i in range(4000)]
    least = min(snyder_utm(lon, south, zone)[1] for lon in edge)
    most = max(snyder_utm(lon, north - 1e-8, zone)[1] for lon in edge)
    # The authors' tenths of a degree may miss the very edge, by up to 0.1° of it.
    assert box.south_m == pytest.approx(least, abs=400) and box.north_m == pytest.approx(most, abs=800)

    rows = kernels(points, zone)
    for row, (x, y) in zip(rows, metres, strict=True):
        for i in range(20):  # west to east
            for j in range(20):  # south to north
                centre_x = box.west_m + (i + 0.5) * (box.east_m - box.west_m) / 20
                centre_y = box.south_m + (j + 0.5) * (box.north_m - box.south_m) / 20
                expected = math.exp(-math.dist((x, y), (centre_x, centre_y)) / 20_000)
                assert row[20 * i + j] == pytest.approx(expected, abs=1e-5)


def keras_file(path, heads, *, whole=False, width=2048):
    """A file as Keras 2 writes it, weights alone or a whole model, with random weights; returns them."""
    shapes = {"layer1": (400, 512), "layer2": (512, 1024), "layer3": (1024, width)}
    shapes |= {head: (width, length) for head, length in heads.items()}
    weights = {}
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if whole else file
        names = ["input_1", "flatten_1", *shapes]
        root.attrs["layer_names"] = [name.encode() for name in names]
        root.attrs["keras_version"] = b"2.2.5"
        for name in names:
            group = root.create_group(name)
            if name not in shapes:
                group.attrs["weight_names"] = np.array([], dtype="S1")
                continue
            group.attrs["weight_names"] = [f"{name}/kernel:0".encode(), f"{name}/bias:0".encode()]
            kernel = RNG.normal(size=shapes[name]).astype(np.float32) * np.float32(1.5 / math.sqrt(shapes[name][0]))
            bias = RNG.normal(size=shapes[name][1]).astype(np.float32)
            group.create_dataset(f"{name}/kernel:0", data=kernel)
            group.create_dataset(f"{name}/bias:0", data=bias)
            weights[name] = kernel.astype(float), bias.astype(float)
    return weights


def network_formula(weights, heads, features):
    h = features.astype(float)
    for layer in ("layer1", "layer2", "layer3"):
        h = np.maximum(h @ weights[layer][0] + weights[layer][1], 0)
    parts = []
    for head in heads:
        logits = h @ weights[head][0] + weights[head][1]
        parts.append(np.exp(logits) / np.exp(logits).sum())
    return np.concatenate(parts)


@pytest.mark.parametrize(
    ("name", "heads", "whole"),
    [("gps2vec-tag", {"tag": 2000}, False), ("gps2vec-visual", {"object": 1000, "scene": 365}, True)],
)
def test_published_files(tmp_path, name, heads, whole):
    weights = {zone: keras_file(tmp_path / f"model_{zone}.h5", heads, whole=whole) for zone in ("48 N", "31 X")}
    encoder = load_baseline(name, weights=tmp_path)
    assert encoder.dim == sum(heads.values()) and set(encoder.zones) == set(weights)
    points = np.array([(103.76, 1.32), (0, 0), (1.5, 60), (2, 90), (107.9, 7.9)], dtype=float)
    rows = encoder.encode_location(points)
    known = encoder.covers(points)
    assert known.tolist() == [True, False, False, True, True]
    assert not rows[~known].any(), "a zone without a network gives zeros"
    for row, point, zone in zip(rows[known], points[known], zone_of(points[known]).tolist(), strict=True):
        expected = network_formula(weights[zone], heads, kernels(point[None], zone)[0])
        np.testing.assert_allclose(row, expected, rtol=1e-3, atol=1e-7)
    assert rows[known].sum(axis=1) == pytest.approx(len(heads), abs=1e-4)


def test_training_tells_west_from_east_and_repeats(tmp_path):
    """Places of one zone in the west are of class 0, in the east of class 1; another zone is the other way round."""
    lonlat = np.concatenate([RNG.uniform((0, 40), (6, 48), (300, 2)), RNG.uniform((6, 40), (12, 48), (300, 2))])
    east = (lonlat[:, 0] % 6 >= 3) ^ (lonlat[:, 0] >= 6)
    targets = [np.eye(2, dtype=np.float32)[east.astype(int)]]
    config = GPS2VecTraining(heads=(("tag", 2),), epochs=40)
    zones, tensors = fit_gps2vec(config, lonlat, targets)
    again = fit_gps2vec(config, lonlat, targets)[1]
    assert zones == ["31 T", "32 T"]
    assert all((tensors[key] == again[key]).all() for key in tensors)

    path = tmp_path / "gps2vec-tag.safetensors"
    config_card = {"zones": zones, "widths": config.widths, "heads": config.heads}
    save_baseline(path, tensors, card={"kind": "gps2vec", "config": config_card})
    encoder = load_baseline("gps2vec-tag", weights=path)
    fresh = RNG.uniform((0, 40.5), (12, 47.5), (400, 2))
    fresh = fresh[np.abs(fresh[:, 0] % 3 - 1.5) < 1.0]  # clear of the borders
    expected = ((fresh[:, 0] % 6 >= 3) ^ (fresh[:, 0] >= 6)).astype(int)
    rows = encoder.encode_location(fresh)
    assert (rows.argmax(axis=1) == expected).mean() > 0.9
    assert not encoder.encode_location([(100, 45)]).any()

    save_baseline(path, tensors, card={"kind": "gps2vec", "config": config_card | {"zones": zones[:1]}})
    with pytest.raises(CheckpointError, match="another architecture"):
        load_baseline("gps2vec-tag", weights=path)


def test_wrong_files(tmp_path, monkeypatch):
    with pytest.raises(CheckpointError, match="no such folder"):
        load_baseline("gps2vec-tag", weights=tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="no network of any UTM zone"):
        load_baseline("gps2vec-tag", weights=tmp_path)
    file = tmp_path / "model_48 N.h5"
    file.write_bytes(b"not HDF5")
    with pytest.raises(CheckpointError, match="damaged Keras file"):
        load_baseline("gps2vec-tag", weights=tmp_path)
    keras_file(file, {"tag": 2000}, width=1024)
    with pytest.raises(CheckpointError, match=r"layer3 is \(1024, 1024\); GPS2Vec's is \(1024, 2048\)"):
        load_baseline("gps2vec-tag", weights=tmp_path)
    keras_file(file, {"tag": 2000})
    with pytest.raises(CheckpointError, match="no layer object, scene in it"):
        load_baseline("gps2vec-visual", weights=tmp_path)
    real = builtins.__import__

    def without_h5py(name, *args, **kwargs):
        if name == "h5py":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_h5py)
    with pytest.raises(MissingDependencyError, match=r"samewhere\[baselines\]"):
        load_baseline("gps2vec-tag", weights=tmp_path)
