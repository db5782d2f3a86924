"""Splits: complete, reproducible, and without a point in common between training and held-out patches."""

import numpy as np
import pytest
import shapely

from data import atlas
from data.errors import QueryError
from data.geo import EARTH_RADIUS_KM, cell_of, great_circle_km
from data.land import sample_land
from data.patch_splits import split_blocks, split_cells, split_continent, split_random
from data.splits import block_of


def dense(count=3000):
    """Patches of 100 km, so many that they overlap."""
    return sample_land(count, rng=np.random.default_rng(0), antarctica=False)


SPLITS = {
    "random": lambda lonlat: split_random(lonlat, share=0.1, seed=1, footprint_km=100),
    "cells": lambda lonlat: split_cells(lonlat, share=0.1, seed=1, resolution=1, footprint_km=100),
    "blocks": lambda lonlat: split_blocks(lonlat, share=0.1, seed=1, footprint_km=100),
    "continent": lambda lonlat: split_continent(lonlat, "EU", footprint_km=100),
}


def square(lonlat, side_km):
    """Corners of a patch in kilometres around a point, on the plane that touches the sphere there."""
    x = EARTH_RADIUS_KM * np.cos(np.radians(lonlat[1])) * np.radians(lonlat[0])
    y = EARTH_RADIUS_KM * np.radians(lonlat[1])
    return shapely.box(x - side_km / 2, y - side_km / 2, x + side_km / 2, y + side_km / 2)


@pytest.mark.parametrize("name", SPLITS)
def test_nothing_leaks_and_nothing_is_lost(name):
    lonlat = dense()
    split = SPLITS[name](lonlat)
    rows = np.concatenate([split.train, split.held_out, split.dropped])
    assert np.array_equal(np.sort(rows), np.arange(len(lonlat)))
    assert len(split.train) and len(split.held_out) and len(split.dropped)
    apart = great_circle_km(lonlat[split.train][:, None], lonlat[split.held_out][None])
    assert apart.min() > 100 * np.sqrt(2)  # squares turned corner to corner
    near = great_circle_km(lonlat[split.dropped][:, None], lonlat[split.held_out][None]).min(axis=1)
    assert near.max() <= 100 * np.sqrt(2) * 1.0001
    again = SPLITS[name](lonlat)
    assert np.array_equal(split.train, again.train) and np.array_equal(split.held_out, again.held_out)


def test_footprints_by_geometry():
    lonlat = np.random.default_rng(3).uniform((10, -2), (16, 2), (250, 2))  # near the equator a plane will do
    side_km = np.random.default_rng(4).uniform(5, 60, 250)
    split = split_random(lonlat, share=0.2, seed=0, footprint_km=side_km)
    held = shapely.union_all([square(lonlat[row], side_km[row]) for row in split.held_out])
    assert not any(square(lonlat[row], side_km[row]).intersects(held) for row in split.train)
    assert len(split.train) > 20


def test_groups_are_held_out_whole():
    lonlat = dense()
    for split, group in (
        (SPLITS["cells"](lonlat), cell_of(lonlat, 1)),
        (SPLITS["blocks"](lonlat), block_of(lonlat)),
        (SPLITS["continent"](lonlat), atlas.continent_of(lonlat)),
    ):
        rest = np.concatenate([split.train, split.dropped])
        assert not set(group[split.held_out].tolist()) & set(group[rest].tolist())
    assert set(atlas.continent_of(lonlat[SPLITS["continent"](lonlat).held_out]).tolist()) == {"EU"}


def test_a_continent_without_patches():
    with pytest.raises(QueryError, match=r"No patch lies in the continent 'XX'; the patches lie in: AF"):
        split_continent(np.array([[20.0, 0.0]]), "XX")


def test_continents_of_known_places():
    places = [(12.5, 41.9), (-58.4, -34.6), (151.2, -33.9), (37.6, 55.8), (31.2, 30.0), (-30, 0), (116.4, 39.9)]
    assert atlas.continent_of(places).tolist() == ["EU", "SA", "OC", "EU", "AF", "", "AS"]


def test_shares():
    lonlat = dense()
    assert len(split_random(lonlat, share=0.25, seed=0).held_out) == 750
    assert len(split_random(lonlat, share=0.0, seed=0).held_out) == 0
    blocks = split_blocks(lonlat, share=0.2, seed=0)
    assert len(np.unique(block_of(lonlat[blocks.held_out]))) == round(0.2 * len(np.unique(block_of(lonlat))))
