"""Folders of patches: reading, splitting, and places drawn around a centre."""

import numpy as np
import pytest

from data.errors import CoordinateError, PatchError
from data.geo import great_circle_km
from data.patch_folder import PatchFolder, draws_of, jitter, open_folder, split_rows
from data.splits import block_of
from tests.model.folders import make_folder, write_tif


def write_index(folder, text):
    folder.mkdir(exist_ok=True)
    (folder / "index.csv").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("", PatchError, "column fn, lon, lat is missing"),
        ("name,lon,lat\n", PatchError, "column fn is missing; it has name, lon, lat"),
        ("fn,lon,lat\n", PatchError, "names no patch"),
        ("fn,lon,lat\na.tif,1,2\nb.tif,east,2\n", PatchError, "line 3"),
        ("fn,lon,lat\na.tif,1,2\nb.tif,4,95\n", CoordinateError, "row 1"),
    ],
)
def test_an_index_that_cannot_be_used_gets_a_sentence(tmp_path, text, error, words):
    with pytest.raises(error, match=words):
        open_folder(write_index(tmp_path / "data", text))


def test_a_folder_without_index_gets_a_sentence(tmp_path):
    with pytest.raises(PatchError, match=r"index\.csv: cannot be read .*\(fn, lon, lat\)"):
        open_folder(tmp_path)


def test_what_does_not_read_is_named_with_its_reason(tmp_path):
    folder = make_folder(tmp_path / "data", 5)
    rng = np.random.default_rng(0)
    (folder / "patch_0.tif").write_bytes((folder / "patch_0.tif").read_bytes()[:5_000])
    (folder / "patch_1.tif").write_bytes((folder / "patch_1.tif").read_bytes()[:11_000])
    write_tif(folder / "patch_2.tif", rng.integers(1, 9000, (13, 24, 24)).astype(np.uint16))
    (folder / "patch_3.tif").unlink()
    patches = open_folder(folder)
    reasons = patches.unreadable(24)
    assert list(reasons) == [f"patch_{n}.tif" for n in range(4)]
    words = ("5,000 bytes", "damaged or cut short", "13 bands", "cannot be read")
    assert all(word in reason for word, reason in zip(words, reasons.values(), strict=True))
    assert patches.without(reasons).names == ("patch_4.tif",)
    assert "24×24 pixels, at least 32×32" in patches.unreadable(32)["patch_4.tif"]


def test_values_are_reflectance_without_the_offset(tmp_path):
    folder = write_index(tmp_path / "data", "fn,lon,lat\na.tif,1,2\nb.tif,3,4\n")
    (folder / "images").mkdir()
    numbers = np.random.default_rng(0).integers(100, 9000, (12, 24, 24)).astype(np.uint16)
    numbers[:, 0, 0] = 0  # nodata
    write_tif(folder / "images" / "a.tif", numbers)
    write_tif(folder / "b.tif", np.where(numbers == 0, 0, numbers + 1000).astype(np.uint16))  # baseline 04.00
    patches = open_folder(folder)
    assert np.array_equal(patches.read(0, 24), numbers)
    assert np.array_equal(patches.read(1, 24), numbers)


def test_blocks_are_held_out_whole_and_share_no_pixel_with_training():
    rng = np.random.default_rng(1)
    near_an_edge = np.stack([rng.uniform(-0.05, 0.05, 400), rng.uniform(0, 10, 400)], axis=1)
    anywhere = np.stack([rng.uniform(-180, 180, 2000), rng.uniform(-80, 80, 2000)], axis=1)
    lonlat = np.concatenate([near_an_edge, anywhere])
    for seed in range(20):
        split = split_rows(lonlat, random_share=0.1, block_share=0.3, seed=seed)
        rows = np.concatenate([split.train, split.random, split.blocks])
        assert len(np.unique(rows)) == len(rows)
        assert not set(block_of(lonlat[split.blocks])) & set(block_of(lonlat[split.train]))
        nearest = great_circle_km(lonlat[split.train][:, None], lonlat[split.blocks][None]).min()
        assert nearest > 2.56 * np.sqrt(2)
    plain = split_rows(lonlat, random_share=0.1, block_share=0.0, seed=0)
    assert len(plain.random) == 240 and len(plain.train) == 2160 and len(plain.blocks) == 0


@pytest.mark.parametrize("lat", [0.0, 60.0, 89.999, 90.0, -90.0])
def test_jitter_is_even_over_a_disc_in_kilometres(lat):
    n, radius_km = 40_000, 5.0
    centre = np.tile([[179.99, lat]], (n, 1))
    moved = jitter(centre, radius_km, np.random.default_rng(0).random((n, 2)))
    km = great_circle_km(centre, moved)
    assert km.max() <= radius_km * (1 + 1e-9)
    # Uniform over a disc: a quarter within half the radius, and the mean distance is two thirds of it.
    assert (km < radius_km / 2).mean() == pytest.approx(0.25, abs=0.01)
    assert km.mean() == pytest.approx(2 / 3 * radius_km, rel=0.01)
    # No direction is preferred: the mean of the displacements, as chords in space, vanishes across the vertical.
    lon, phi = np.radians(moved.T)
    lon0, phi0 = np.radians(centre[0])
    points = np.stack([np.cos(phi) * np.cos(lon), np.cos(phi) * np.sin(lon), np.sin(phi)], axis=1) * 6371.0088
    up = np.array([np.cos(phi0) * np.cos(lon0), np.cos(phi0) * np.sin(lon0), np.sin(phi0)])
    mean = points.mean(axis=0)
    assert np.linalg.norm(mean - (mean @ up) * up) < 0.05
    assert (moved[:, 0] >= -180).all() and (moved[:, 0] < 180).all()


def test_jitter_of_nothing_moves_nothing():
    lonlat = np.array([[12.5, 41.9], [-180.0, 0.0], [30.0, -90.0]])
    assert great_circle_km(jitter(lonlat, 0.0, np.random.default_rng(0).random((3, 2))), lonlat).max() < 1e-9


def test_draws_depend_on_seed_epoch_and_row_alone():
    both, one = draws_of(1, 2, [5, 9], 3), draws_of(1, 2, [9], 3)
    assert np.array_equal(both[1:], one)
    assert not np.array_equal(draws_of(1, 3, [9], 3), one) and draws_of(1, 2, [], 3).shape == (0, 3)


def test_rows_of_a_folder():
    patches = PatchFolder(None, ("a", "b", "c"), np.arange(6.0).reshape(3, 2))
    assert patches.without(["b"]).lonlat.tolist() == [[0, 1], [4, 5]]
