"""Spherical harmonics against SciPy, closed forms, the addition theorem and quadrature."""

import numpy as np
import pytest
import torch
from scipy.special import sph_harm_y

from model.harmonics import spherical_harmonics


def reference(lonlat, degrees):
    """Real harmonics from SciPy's complex ones, the Condon–Shortley sign taken off."""
    phi, theta = np.radians(lonlat[:, 0] + 180), np.radians(lonlat[:, 1] + 90)
    columns = []
    for l in range(degrees):
        for m in range(-l, l + 1):
            value = sph_harm_y(l, abs(m), theta, phi) * (-1.0) ** abs(m)
            columns.append(value.real if m == 0 else np.sqrt(2) * (value.imag if m < 0 else value.real))
    return np.stack(columns, axis=1)


@pytest.fixture(scope="module")
def points():
    rng = np.random.default_rng(0)
    drawn = np.stack([rng.uniform(-180, 180, 60), np.degrees(np.arcsin(rng.uniform(-1, 1, 60)))], axis=1)
    return np.concatenate([drawn, [(0, 90), (77, -90), (180, 0), (-180, 0), (10, 89.999), (10, -89.9999), (0, 0)]])


@pytest.mark.parametrize("degrees", [1, 2, 10, 40])
def test_agrees_with_scipy(points, degrees):
    ours = spherical_harmonics(torch.from_numpy(points), degrees).numpy()
    assert np.abs(ours - reference(points, degrees)).max() < 1e-10


def test_agrees_with_scipy_at_degree_200(points):
    ours = spherical_harmonics(torch.from_numpy(points), 201).numpy()
    phi, theta = np.radians(points[:, 0] + 180), np.radians(points[:, 1] + 90)
    for m in (0, 1, 2, 50, 100, 150, 199, 200):
        value = sph_harm_y(200, m, theta, phi) * (-1.0) ** m * (np.sqrt(2) if m else 1)
        centre = 200 * 200 + 200
        assert np.abs(ours[:, centre + m] - value.real).max() < 1e-10
        if m:
            assert np.abs(ours[:, centre - m] - value.imag).max() < 1e-10


@pytest.mark.parametrize("degrees", [40, 201, 400])
def test_addition_theorem(points, degrees):
    """The squares of degree l sum to (2l + 1) / 4π everywhere on the sphere (Unsöld)."""
    squares = spherical_harmonics(torch.from_numpy(points), degrees).numpy() ** 2
    for l in (0, 1, degrees // 2, degrees - 1):
        np.testing.assert_allclose(squares[:, l * l : (l + 1) ** 2].sum(axis=1), (2 * l + 1) / (4 * np.pi), rtol=1e-10)


def test_orthonormal_by_exact_quadrature():
    degrees = 12
    nodes, weights = np.polynomial.legendre.leggauss(degrees)
    lon = np.arange(2 * degrees) * 360 / (2 * degrees)
    grid = np.stack(np.meshgrid(lon, np.degrees(np.arcsin(nodes))), axis=-1).reshape(-1, 2)
    area = np.repeat(weights * 2 * np.pi / (2 * degrees), 2 * degrees)
    values = spherical_harmonics(torch.from_numpy(grid), degrees).numpy()
    np.testing.assert_allclose(values.T @ (values * area[:, None]), np.eye(degrees**2), atol=1e-12)


def test_first_degrees_in_closed_form():
    lon, lat = np.radians(30.0), np.radians(20.0)
    ours = spherical_harmonics(torch.tensor([[30.0, 20.0]]), 2).numpy()[0]
    a = np.sqrt(3 / (4 * np.pi))
    x, y, z = -np.cos(lat) * np.cos(lon), -np.cos(lat) * np.sin(lon), -np.sin(lat)  # turned by φ + 180°, θ + 90°
    np.testing.assert_allclose(ours, [np.sqrt(1 / (4 * np.pi)), a * y, a * z, a * x], atol=1e-15)


@pytest.mark.parametrize("degrees", [0, -1, 5000])
def test_degrees_are_bounded(degrees):
    with pytest.raises(ValueError, match="degrees must lie in"):
        spherical_harmonics(torch.zeros(1, 2), degrees)


@pytest.mark.parametrize("degrees", [10, 40, 200])
def test_float32_is_float64_rounded_once(points, degrees):
    exact = spherical_harmonics(torch.from_numpy(points), degrees)
    single = spherical_harmonics(torch.from_numpy(points), degrees, dtype=torch.float32)
    assert single.dtype == torch.float32 and torch.equal(single, exact.float())
    assert (single - exact).abs().max() <= 2**-24 * exact.abs().max()


def test_points_lie_side_by_side(points):
    """A matrix product then reads the transpose as it is, without a copy."""
    assert spherical_harmonics(torch.from_numpy(points), 6).T.is_contiguous()


def test_a_longitude_is_an_angle(points):
    turned = points + np.array([360.0, 0.0])
    ours = [spherical_harmonics(torch.from_numpy(lonlat), 200) for lonlat in (points, turned)]
    torch.testing.assert_close(*ours, rtol=0, atol=1e-10)


def test_constants_follow_the_points_to_any_device():
    assert spherical_harmonics(torch.zeros(3, 2, device="meta"), 5, dtype=torch.float32).shape == (3, 25)


def test_inference_mode_leaves_no_trace():
    with torch.inference_mode():
        spherical_harmonics(torch.zeros(1, 2), 7)
    weight = torch.ones(49, 1, requires_grad=True)
    features = spherical_harmonics(torch.zeros(1, 2), 7, dtype=torch.float32)
    (features @ weight).sum().backward()
    torch.testing.assert_close(weight.grad, features.T)
