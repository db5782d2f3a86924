"""The bridge from reflectance to the Blue Marble: closed forms for the curve, invariants for the grid."""

from pathlib import Path

import numpy as np
import pytest

from data.blue_marble import FOOTPRINT_KM, GSD_M, BlueMarble
from data.bridge import EXPONENT, GAIN, clear_pixels, display_colour, to_blue_marble
from data.patch import Patch, read_patch
from tools.fit_bridge import fit

VISIBLE = ("B04", "B03", "B02")


def plain(colour, side=64, gsd_m=10.0, bands=VISIBLE):
    pixels = np.broadcast_to(np.array(colour, dtype=np.float32)[:, None, None], (3, side, side)).copy()
    return Patch(pixels, bands, gsd_m=gsd_m)


def test_curve_is_the_documented_power_law():
    reflectance = np.array([0.1, 0.08, 0.05])
    np.testing.assert_allclose(
        display_colour(reflectance), np.array(GAIN) * reflectance ** np.array(EXPONENT), rtol=1e-6
    )
    assert (display_colour(np.array([[-0.1, 0, 2]] * 3)) == [[0, 0, 1]] * 3).all()


def test_curve_rises():
    grid = np.linspace(0.01, 0.3, 50)
    assert (np.diff(display_colour(np.stack([grid] * 3)), axis=1) > 0).all()


def test_fit_recovers_a_known_law():
    x = np.geomspace(0.02, 0.5, 9)
    np.testing.assert_allclose(fit(x, 1.7 * x**0.8), [1.7, 0.8], rtol=1e-9)


def test_a_patch_below_one_pixel_is_its_mean_colour():
    patch = plain((0.1, 0.08, 0.05), side=256)
    patch.pixels[:, ::2] *= 0.5
    pixels, side_km = to_blue_marble(patch)
    assert side_km == pytest.approx(2.56)
    assert np.ptp(pixels, axis=(1, 2)).max() < 1e-6
    expected = display_colour(patch.pixels).mean(axis=(1, 2))
    np.testing.assert_allclose(pixels[:, 0, 0], expected, rtol=1e-4)


def test_a_blue_marble_patch_passes_unchanged():
    patch = BlueMarble.open().patch(12.5, 41.9)
    pixels, side_km = to_blue_marble(patch)
    np.testing.assert_array_equal(pixels, patch.pixels)
    assert side_km == pytest.approx(FOOTPRINT_KM)


def test_finer_imagery_is_averaged_onto_the_grid():
    patch = BlueMarble.open().patch(12.5, 41.9, size_px=128, footprint_km=FOOTPRINT_KM)
    pixels, _ = to_blue_marble(patch)
    np.testing.assert_allclose(pixels, patch.pixels.reshape(3, 32, 4, 32, 4).mean(axis=(2, 4)), atol=1e-6)


def test_wide_and_oblong_patches_give_their_centre():
    wide = Patch(np.random.default_rng(0).random((3, 64, 96), dtype=np.float32), ("R", "G", "B"), gsd_m=GSD_M)
    pixels, side_km = to_blue_marble(wide)
    np.testing.assert_array_equal(pixels, wide.pixels[:, 16:48, 32:64])
    assert side_km == pytest.approx(FOOTPRINT_KM)


def test_clouds_do_not_count():
    clear = plain((0.05, 0.08, 0.04))
    cloudy = plain((0.05, 0.08, 0.04))
    cloudy.pixels[:, :40] = 0.6
    assert clear_pixels(cloudy).mean() == pytest.approx(24 / 64)
    np.testing.assert_allclose(to_blue_marble(cloudy)[0], to_blue_marble(clear)[0], atol=1e-6)


def test_deserts_and_snow_do():
    assert clear_pixels(plain((0.4, 0.29, 0.19))).all()
    assert clear_pixels(plain((0.8, 0.8, 0.8))).all()


def test_nodata_does_not_count():
    patch = plain((0.1, 0.08, 0.05))
    patch.pixels[:, :50] = np.nan
    np.testing.assert_allclose(to_blue_marble(patch)[0], to_blue_marble(plain((0.1, 0.08, 0.05)))[0], atol=1e-6)


SHARED = Path(__file__).parents[3] / "shared" / "s2"


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="needs the real Sentinel-2 patches beside the checkout")
def test_real_patches_take_the_colour_of_their_place():
    errors = []
    for path in sorted(SHARED.glob("*.tif")):
        patch = read_patch(path)
        there = BlueMarble.open().cut([patch.lonlat], size_px=4, footprint_km=7.4)[0].mean(axis=(1, 2)) / 255
        errors.append(np.abs(to_blue_marble(patch)[0].mean(axis=(1, 2)) - there).mean())
    assert np.median(errors) < 0.05  # the law was fitted here: this pins it and the cloud rule, it does not prove them
