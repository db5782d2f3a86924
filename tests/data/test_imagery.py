"""The Blue Marble, the land mask, the sampler and the splits."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from data import land, splits
from data.blue_marble import FOOTPRINT_KM, GSD_M, BlueMarble
from data.geo import EARTH_RADIUS_KM, great_circle_km, unit_vectors


@pytest.fixture(scope="module")
def ramp():
    """A picture whose red is the row and whose green is the distance of the column from the antimeridian."""
    rows, columns = np.mgrid[0:180, 0:360]
    return BlueMarble(np.stack([rows, np.minimum(columns, 359 - columns), columns % 2], axis=-1).astype(np.uint8))


def test_a_patch_shows_the_pixel_under_it(ramp):
    tiny = ramp.cut([(10.5, 20.5)], size_px=2, footprint_km=0.1)[0]
    assert (tiny[0] == 69).all()  # row of latitude 20.5
    assert (tiny[1] == 359 - 190).all()  # column of longitude 10.5


@pytest.mark.parametrize("lonlat", [(180, 0), (-180, 0), (0, 90), (0, -90), (123, 89.99)])
def test_edges_of_the_map_are_ordinary_places(ramp, lonlat):
    patch = ramp.cut([lonlat], size_px=16, footprint_km=300)[0].astype(int)
    assert np.abs(np.diff(patch[0], axis=1)).max() <= 2  # no seam in the rows' ramp
    if abs(lonlat[1]) < 80:
        assert np.abs(np.diff(patch[1], axis=1)).max() <= 2  # nor in the columns'


def test_known_colours():
    patch = (
        BlueMarble.open().cut([(25, 24), (-62, -5), (-40, 73), (-150, 0)], size_px=8, footprint_km=50).mean(axis=(2, 3))
    )
    sahara, amazon, greenland, ocean = patch
    assert sahara[0] > 150 > 130 > sahara[2]
    assert amazon[1] > amazon[0] and amazon.max() < 80
    assert greenland.min() > 200
    assert ocean[2] > 2 * ocean[0]


def test_coarse_patches_are_averages_of_fine_ones():
    place = [(15, 15)]
    fine = (
        BlueMarble.open()
        .cut(place, size_px=128, footprint_km=4 * FOOTPRINT_KM)[0]
        .reshape(3, 32, 4, 32, 4)
        .mean(axis=(2, 4))
    )
    coarse = BlueMarble.open().cut(place, footprint_km=4 * FOOTPRINT_KM)[0]
    assert coarse.mean() == pytest.approx(fine.mean(), abs=3)
    assert np.corrcoef(coarse.ravel(), fine.ravel())[0, 1] > 0.95  # both average 4×4 pixels


def test_gsd_is_a_pixel_at_the_equator():
    assert pytest.approx(2 * np.pi * EARTH_RADIUS_KM) == GSD_M * 5400 / 1000


@pytest.mark.parametrize(
    ("lonlat", "dry"),
    [
        ((2.35, 48.86), True),
        ((-30, 40), False),
        ((0, -85), True),
        ((33, -1), False),
        ((-170, -16.7), False),
        ((86.9, 28), True),
    ],
)
def test_land(lonlat, dry):
    assert bool(land.is_land(lonlat)) is dry


def test_land_share_of_the_sphere():
    share = land.is_land(land.sample_sphere(200_000, rng=np.random.default_rng(1))).mean()
    assert share == pytest.approx(0.292, abs=0.006)  # 148.9 of 510.1 million km², lakes taken off


def test_land_cells_are_on_land_and_most_of_it():
    cells = land.land_cells(3)
    assert len(cells) == pytest.approx(0.29 * 41_162, rel=0.05)
    assert (np.diff(cells.astype(object)) > 0).all()
    assert len(land.land_cells(3, antarctica=False)) < len(cells)


def test_sampler_is_uniform_over_area_and_repeats():
    points = land.sample_land(40_000, rng=np.random.default_rng(3))
    assert land.is_land(points).all()
    np.testing.assert_array_equal(points, land.sample_land(40_000, rng=np.random.default_rng(3)))
    # Oracle: the share of land beyond 60° N by the mask's own pixel areas.
    mask = land.land_mask() == land.LAND
    weight = np.cos(np.radians((np.arange(land.ROWS) + 0.5) / land.ROWS * 180 - 90))[:, None] * mask
    expected = weight[land.ROWS * 150 // 180 :].sum() / weight.sum()
    assert (points[:, 1] > 60).mean() == pytest.approx(expected, abs=0.01)
    assert (land.sample_land(5000, rng=np.random.default_rng(3), antarctica=False)[:, 1] > -60).all()


def test_splits_share_no_footprint():
    split = splits.make_split(300_000, hold_out_blocks=True)  # more than are drawn at first
    assert (len(split.train), len(split.places), len(split.blocks)) == (300_000, 10_000, 5_000)
    train = cKDTree(unit_vectors(split.train))
    _, nearest = train.query(unit_vectors(split.blocks))
    apart = great_circle_km(split.blocks, split.train[nearest])
    assert apart.min() >= splits.DISJOINT_KM - 1e-6
    _, nearest = train.query(unit_vectors(split.places))
    assert great_circle_km(split.places, split.train[nearest]).min() >= splits.APART_KM - 1e-6
    assert not np.isin(splits.block_of(split.train), splits.block_of(split.blocks)).any()


def test_splits_repeat_and_do_not_depend_on_the_size():
    a, b = splits.make_split(1000, hold_out_blocks=True), splits.make_split(0, hold_out_blocks=False)
    np.testing.assert_array_equal(a.places, b.places)
    np.testing.assert_array_equal(a.blocks, b.blocks)
