"""Digital numbers: closed forms, the real patches beside the checkout, and what cannot be read."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

from data.bands import L2A_BANDS, VISIBLE_BANDS
from data.errors import PatchError
from data.patch import Patch, read_patch
from data.radiometry import cloud_percent, offset_of_baseline, reflectance, repeat_pixels, select_bands

SHARED = Path(__file__).parents[3] / "shared" / "s2"


@given(
    number=st.integers(1, 65534), offset=st.sampled_from([0.0, 1000.0]), quantification=st.sampled_from([5000, 10_000])
)
def test_reflectance_undoes_the_scale(number, offset, quantification):
    value = reflectance(np.array([[[number]]], np.uint16), offset=offset, quantification=quantification)
    assert value.dtype == np.float32
    assert value.item() * quantification + offset == pytest.approx(number, abs=0.01)


def test_an_offset_for_each_band_and_special_values():
    numbers = np.array([[[0, 1000, 65535]], [[2000, 500, 65534]]], np.uint16)
    values = reflectance(numbers, offset=[0, 1000])
    expected = [[[np.nan, 0.1, np.nan]], [[0.1, -0.05, 6.4534]]]
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    assert numbers[0, 0, 2] == 65535  # the input stays as it is


@pytest.mark.parametrize(
    ("baseline", "offset"),
    [
        ("02.14", 0),
        ("03.01", 0),
        ("N0301", 0),
        ("04.00", 1000),
        ("N0400", 1000),
        ("05.11", 1000),
        ("99.99", 1000),
        ("S2A_MSIL2A_20230706T012659_N0509_R074_T54SUE_20230706T030000", 1000),
        ("S2A_MSIL2A_20200706T012659_N0214_R074_T54SUE_20200706T030000.SAFE", 0),
    ],
)
def test_offset_of_baseline(baseline, offset):
    assert offset_of_baseline(baseline) == offset


@pytest.mark.parametrize("text", ["", "4", "new", "S2A_MSIL2A_20230706T012659_R074_T54SUE_20230706T030000"])
def test_texts_without_a_baseline(text):
    with pytest.raises(PatchError, match="names no processing baseline"):
        offset_of_baseline(text)


@pytest.mark.shared
def test_real_patches_are_what_the_rules_say():
    """As read_patch reads them; and 20 m and 60 m bands of S2-100K are pixels repeated, as ours are."""
    for path in sorted(SHARED.glob("*.tif")):
        with rasterio.open(path) as file:
            numbers = file.read()
        patch = read_patch(path)
        offset = 1000 if numbers.min() > 1000 else 0
        np.testing.assert_allclose(patch.pixels, reflectance(numbers, offset=offset), atol=1e-6)
        for band, factor in (("B05", 2), ("B8A", 2), ("B12", 2), ("B01", 6), ("B09", 6)):
            values = numbers[L2A_BANDS.index(band)]
            starts = [(down, across) for down in range(factor) for across in range(factor)]
            assert any(
                np.array_equal(repeat_pixels(part[::factor, ::factor], factor), part)
                for down, across in starts
                for part in [values[down : down + 246, across : across + 246]]
            ), (path.name, band)


def test_bands_by_name():
    pixels = np.random.default_rng(0).random((12, 8, 8)).astype(np.float32)
    patch = Patch(pixels, L2A_BANDS, (1.0, 2.0), source="a.tif")
    part = select_bands(patch, ["b12", "B4", "b03", "B02", "b8a"])
    assert part.bands == ("B12", "B04", "B03", "B02", "B8A")
    np.testing.assert_array_equal(part.pixels, pixels[[11, 3, 2, 1, 8]])
    assert part.lonlat == patch.lonlat
    with pytest.raises(PatchError, match=r"a.tif: no band B10; it has B01"):
        select_bands(patch, [*VISIBLE_BANDS, "B10"])
    with pytest.raises(PatchError, match="asked for twice"):
        select_bands(patch, [*VISIBLE_BANDS, "b2"])
    with pytest.raises(PatchError, match="Expected"):
        select_bands(patch, ["B08"])


def test_repeated_pixels_are_a_kronecker_product():
    band = np.arange(12, dtype=np.uint16).reshape(3, 4)
    for factor in (1, 2, 6):
        np.testing.assert_array_equal(repeat_pixels(band, factor), np.kron(band, np.ones((factor, factor), np.uint16)))


def test_cloud_percent():
    classes = np.array([[0, 0, 3, 4], [8, 9, 10, 7]])
    assert cloud_percent(classes) == 50
    assert cloud_percent(np.zeros((2, 2), np.uint8)) == 0
    assert cloud_percent(np.array([[0, 1, 2, 3]]), clouds=(1, 2), nodata=None) == 50
