"""Every baseline without weights against its paper's formula, one point and one feature at a time."""

import math

import numpy as np
import pytest
from scipy.special import sph_harm_y

from data.errors import CheckpointError, CoordinateError
from model.baselines import BASELINES, load_baseline
from model.baselines.encodings import DFS_SCALES, ENCODINGS, SPACE2VEC_SCALES, SPHERE2VEC_SCALES

RNG = np.random.default_rng(4)
EDGES = [(0, 0), (-180, 0), (0, 90), (0, -90), (-180, -90), (-180, 45), (90, 30), (-90, 89.999)]
POINTS = np.concatenate([np.stack([RNG.uniform(-180, 180, 30), RNG.uniform(-90, 90, 30)], axis=1), EDGES])


def scales(smallest, largest, number):
    return [smallest * (largest / smallest) ** (s / (number - 1)) for s in range(number)]


def assert_follows(name, formula, atol=2e-7):
    encoder = load_baseline(name)
    rows = encoder.encode_location(POINTS)
    assert rows.dtype == np.float32 and rows.shape == (len(POINTS), encoder.dim)
    assert encoder.covers(POINTS).all()
    np.testing.assert_allclose(rows, [formula(*point) for point in POINTS], rtol=1e-6, atol=atol)


def test_coordinates():
    assert_follows("raw", lambda lon, lat: (lon, lat))
    assert_follows(
        "cartesian",
        lambda lon, lat: (
            math.cos(math.radians(lon)) * math.cos(math.radians(lat)),
            math.sin(math.radians(lon)) * math.cos(math.radians(lat)),
            math.sin(math.radians(lat)),
        ),
    )


@pytest.mark.parametrize("degrees", [10, 40])
def test_harmonics_are_orthonormal_ones(degrees):
    def formula(lon, lat):
        theta, phi = math.radians(lat + 90), math.radians(lon + 180)
        row = []
        for l in range(degrees):
            for m in range(-l, l + 1):
                value = sph_harm_y(l, abs(m), theta, phi) * (-1) ** m * (math.sqrt(2) if m else 1)
                row.append(value.imag if m < 0 else value.real)
        return row

    assert_follows(f"harmonics-l{degrees}", formula, atol=2e-6)


def test_space2vec_grid():
    """Space2Vec's grid: degrees, wavelengths in geometric series."""

    def formula(lon, lat):
        return [f(x / s) for x in (lon, lat) for s in scales(*SPACE2VEC_SCALES) for f in (math.sin, math.cos)]

    assert_follows("space2vec-grid", formula)


def test_space2vec_theory():
    def formula(lon, lat):
        turns = [(1, 0), (-0.5, math.sqrt(3) / 2), (-0.5, -math.sqrt(3) / 2)]
        along = [(lon * a + lat * b) / s for s in scales(*SPACE2VEC_SCALES) for a, b in turns]
        return [f(x) for x in along for f in (math.sin, math.cos)]

    assert_follows("space2vec-theory", formula)


def sphere(kind):
    """Sphere2Vec in radians, each feature once."""

    def formula(lon, lat):
        lon, lat, row = math.radians(lon), math.radians(lat), []
        for s in scales(*SPHERE2VEC_SCALES):
            a, b, sin, cos = lon / s, lat / s, math.sin, math.cos
            row += {
                "C": [sin(b), cos(b) * cos(a), cos(b) * sin(a)],
                "C+": [sin(b), cos(b), sin(a), cos(a), cos(b) * cos(a), cos(b) * sin(a)],
                "M": [sin(b), cos(b) * cos(lon), cos(lat) * cos(a), cos(b) * sin(lon), cos(lat) * sin(a)],
                "M+": [sin(b), cos(b), sin(a), cos(a)],
            }[kind]
            if kind == "M+":
                row += [cos(b) * cos(lon), cos(lat) * cos(a), cos(b) * sin(lon), cos(lat) * sin(a)]
        return row

    return formula


@pytest.mark.parametrize("kind", ["C", "C+", "M", "M+"])
def test_sphere2vec(kind):
    assert_follows(f"sphere2vec-sphere{kind}", sphere(kind))


def test_double_fourier_sphere():
    def formula(lon, lat):
        series = scales(*DFS_SCALES)
        lats, lons = [math.radians(lat) / s for s in series], [math.radians(lon) / s for s in series]
        row = [f(b) for b in lats for f in (math.sin, math.cos)] + [f(a) for a in lons for f in (math.sin, math.cos)]
        for b in lats:
            for a in lons:
                row += [f(b) * g(a) for f in (math.cos, math.sin) for g in (math.cos, math.sin)]
        return row

    assert_follows("sphere2vec-dfs", formula)


def test_any_number_of_places():
    encoder = load_baseline("SPHERE2VEC-SPHEREC+")  # case does not matter
    many = RNG.uniform((-180, -90), (180, 90), (1000, 2))
    rows = encoder.encode_location(many)
    assert encoder.encode_location(np.empty((0, 2))).shape == (0, encoder.dim)
    np.testing.assert_array_equal(rows[777:778], encoder.encode_location(many[777:778]))
    # The antimeridian is one place, whichever way it is written.
    np.testing.assert_array_equal(*(encoder.encode_location([(lon, 10.0)]) for lon in (180.0, -180.0)))


def test_wrong_input_gets_a_sentence():
    with pytest.raises(CheckpointError, match="no baseline 'satnav'; choose one of raw, "):
        load_baseline("satnav")
    with pytest.raises(CheckpointError, match="raw has no weights"):
        load_baseline("raw", weights="x.pth")
    with pytest.raises(CoordinateError, match="row 1 is"):
        load_baseline("raw").encode_location([(0, 0), (0, 91)])
    assert set(ENCODINGS) < set(BASELINES)
