"""Every position encoding against its formula, evaluated one point and one feature at a time in plain Python."""

import math

import numpy as np
import pytest
import torch
from scipy.special import sph_harm_y

from data.errors import CheckpointError
from model.position import ENCODER_NAMES, LE_TYPES, build_position, resolve_le_type

EDGES = [
    (0, 0),
    (180, 0),
    (-180, 0),
    (0, 90),
    (0, -90),
    (180, 90),
    (-180, -90),
    (-180, 45),
    (180, -45),
    (90, 30),
    (-90, 89.999),
]
RNG = np.random.default_rng(3)
POINTS = [*map(tuple, np.stack([RNG.uniform(-180, 180, 40), RNG.uniform(-90, 90, 40)], axis=1)), *EDGES]
SERIES = [
    {"frequency_num": 10, "min_radius": 1.0, "max_radius": 360.0},
    {"frequency_num": 3, "min_radius": 0.5, "max_radius": 100.0},
    {"frequency_num": 2, "min_radius": 5.0, "max_radius": 5.0},
]


def encode(le_type, **settings):
    module = build_position(le_type, **settings)
    out = module(torch.tensor(POINTS, dtype=torch.float64))
    assert out.dtype == torch.float64
    assert out.shape == (len(POINTS), module.dim)
    return out.numpy()


def scales(frequency_num, min_radius, max_radius):
    return [min_radius * (max_radius / min_radius) ** (k / (frequency_num - 1)) for k in range(frequency_num)]


# ---- without scales ----


def direct(lon, lat):
    return [lon * math.pi / 180 - math.pi, lat * math.pi / 180 - math.pi]


def xyz(lon, lat):
    a, b = math.radians(lon), math.radians(lat)
    return [math.cos(a) * math.cos(b), math.sin(a) * math.cos(b), math.sin(b)]


def wrap(lon, lat):
    a, b = math.radians(lon), math.radians(lat)
    return [math.cos(a), math.sin(a), math.cos(b), math.sin(b)]


@pytest.mark.parametrize(("le_type", "formula"), [("direct", direct), ("cartesian3d", xyz), ("wrap", wrap)])
def test_simple_encodings(le_type, formula):
    np.testing.assert_allclose(encode(le_type), [formula(*point) for point in POINTS], rtol=0, atol=1e-15)


# ---- at every scale: degrees go into the sines as they are ----


def theory(lon, lat, series):
    """Sine, cosine, sine … along the row; the count starts again in its second half."""
    along = [
        sum(a * b for a, b in zip((lon, lat), (math.cos(turn), math.sin(turn)), strict=True)) / scale
        for scale in series
        for turn in (0, 2 * math.pi / 3, 4 * math.pi / 3)
        for _ in "sc"
    ]
    half = len(along) // 2
    return [(math.cos if index % half % 2 else math.sin)(angle) for index, angle in enumerate(along)]


def grid(lon, lat, series):
    return [f(x / scale) for x in (lon, lat) for scale in series for f in (math.sin, math.cos)]


def sphere(lon, lat, series, parts):
    """Each feature is a product, "CL cl" = cos φˢ cos λ: capitals are scaled; s/c a sine or cosine; o/a λ or φ."""
    row = []
    for scale in series:
        value = {
            f"{function}{axis}": {"s": math.sin, "c": math.cos}[function.lower()](
                {"o": lon, "a": lat}[axis] / (scale if function.isupper() else 1)
            )
            for function in "sScC"
            for axis in "oa"
        }
        for part in parts:
            row += [math.prod(value[factor] for factor in part.split())] * 2
    return row


SPHERES = {
    "spherec": ["Sa", "Ca Co", "Ca So"],
    "spherecplus": ["Sa", "Ca", "So", "Co", "Ca Co", "Ca So"],
    "spherem": ["Sa", "Ca co", "ca Co", "Ca so", "ca So"],
    "spheremplus": ["Sa", "Ca", "So", "Co", "Ca co", "ca Co", "Ca so", "ca So"],
}


@pytest.mark.parametrize("settings", SERIES, ids=lambda settings: f"{settings['frequency_num']}-scales")
@pytest.mark.parametrize("le_type", ["theory", "grid", *SPHERES])
def test_encodings_at_every_scale(le_type, settings):
    series = scales(**settings)
    if le_type in SPHERES:
        expected = [sphere(*point, series, SPHERES[le_type]) for point in POINTS]
    else:
        expected = [{"theory": theory, "grid": grid}[le_type](*point, series) for point in POINTS]
    np.testing.assert_allclose(encode(le_type, **settings), expected, rtol=0, atol=1e-12)


def test_theory_keeps_both_functions_of_every_angle_for_an_even_number_of_scales():
    """For an odd one the scale in the middle has one sine twice and lacks its cosine."""
    for number, distinct in ((4, 24), (3, 17)):
        row = build_position("theory", frequency_num=number, max_radius=50.0)(torch.tensor([[17.3, 41.9]]))[0]
        assert len(np.unique(row.numpy().round(12))) == distinct


# ---- spherical harmonics ----


def harmonics(lon, lat, degrees, calculation):
    """scipy's complex functions carry the sign (−1)^m."""
    phi, theta = math.radians(lon + 180), math.radians(lat + 90)
    row = []
    for l in range(degrees):
        for m in range(-l, l + 1):
            value = sph_harm_y(l, abs(m), theta, phi)
            real = value.real if m == 0 else math.sqrt(2) * (value.imag if m < 0 else value.real)
            if calculation != "closed-form":
                real *= math.pi if m == 0 else (-1) ** m
            row.append(real)
    return np.array(row)


def discretized(lon, lat, degrees):
    x, y = lon + 180, lat + 90
    u, v = x - math.floor(x), y - math.floor(y)

    def node(column, row):
        column, row = min(max(column, 0), 359), min(max(row, 0), 179)
        return harmonics(-180 + column * 360 / 359, -90 + row * 180 / 179, degrees, "analytic")

    below, above = node(math.floor(x), math.floor(y)), node(math.ceil(x), math.ceil(y))
    return (1 - u) * (1 - v) * below + u * (1 - v) * above


@pytest.mark.parametrize("degrees", [1, 2, 10, 40])
@pytest.mark.parametrize("calculation", ["analytic", "closed-form"])
def test_harmonics(calculation, degrees):
    found = encode("sphericalharmonics", legendre_polys=degrees, harmonics_calculation=calculation)
    expected = [harmonics(*point, degrees, calculation) for point in POINTS]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)


def test_discretized_harmonics():
    found = encode("sphericalharmonics", legendre_polys=10, harmonics_calculation="discretized")
    np.testing.assert_allclose(found, [discretized(*point, 10) for point in POINTS], rtol=0, atol=1e-11)


# ---- all of them ----

HARMONICS = [("sphericalharmonics", calculation) for calculation in ("closed-form", "discretized")]


@pytest.mark.parametrize(("le_type", "calculation"), [*((name, "analytic") for name in LE_TYPES), *HARMONICS])
def test_float64_whatever_the_module_is_cast_to_and_nothing_is_saved(le_type, calculation):
    settings = {"harmonics_calculation": calculation, "min_radius": 1e-5, "max_radius": 1e-2, "frequency_num": 16}
    module, half = build_position(le_type, **settings), build_position(le_type, **settings).half()
    assert not module.state_dict()
    points = torch.tensor(POINTS).float()
    torch.testing.assert_close(half(points), module(points.double()), rtol=0, atol=0)
    assert half(points[:0]).shape == (0, module.dim)


@pytest.mark.parametrize(
    ("name", "le_type"),
    [
        ("Space2Vec-grid", "grid"),
        ("Space2Vec-theory", "theory"),
        ("Sphere2Vec-sphereC", "spherec"),
        ("sphereC", "spherec"),
        ("sphereC+", "spherecplus"),
        ("sphereM", "spherem"),
        ("sphereM+", "spheremplus"),
        ("spheregridmixscale", "spheremplus"),
        ("xyz", "cartesian3d"),
        ("wrap", "wrap"),
        ("Siren(SH)", "sphericalharmonics"),
    ],
)
def test_names_that_other_projects_give(name, le_type):
    assert resolve_le_type(name) == resolve_le_type(name.upper()) == le_type
    np.testing.assert_array_equal(encode(name), encode(le_type))


def test_every_name_leads_to_an_encoding():
    assert set(ENCODER_NAMES.values()) <= set(LE_TYPES)
    assert len({name.casefold() for name in [*ENCODER_NAMES, *LE_TYPES]}) == len(ENCODER_NAMES) + len(LE_TYPES)


@pytest.mark.parametrize(
    ("le_type", "settings", "words"),
    [
        ("rbf", {}, "le_type='rbf' is unknown; choose one of direct, cartesian3d, .*Space2Vec-grid"),
        ("sphericalharmonics", {"harmonics_calculation": "exact"}, "analytic, closed-form, discretized .*'exact'"),
        ("sphericalharmonics", {"legendre_polys": 0}, "from 1 to 1024; got 'analytic' and 0"),
        ("sphericalharmonics", {"legendre_polys": 2000}, "2000"),
        ("theory", {"frequency_num": 1}, "frequency_num of at least 2"),
        ("grid", {"min_radius": 0.0}, "0 < min_radius"),
        ("spherec", {"min_radius": 5.0, "max_radius": 1.0}, "min_radius ≤ max_radius; got 10, 5.0 and 1.0"),
        ("spherem", {"max_radius": math.nan}, "nan"),
    ],
)
def test_what_cannot_be_built_is_refused_in_a_sentence(le_type, settings, words):
    with pytest.raises(CheckpointError, match=words):
        build_position(le_type, **settings)
